//! The steps of the demo.

use std::error::Error;

use crate::{
    screen::{Screen, output, say},
    shop::{EMERGENCY_OPS, Person, Shop},
};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// The expected outcome of a command.
enum Must<'a> {
    /// It succeeds, without a message of the guard.
    Pass,
    /// It succeeds, and the guard's warning contains all of these.
    Warn(&'a [&'a str]),
    /// The guard denies it, and the message contains all of these.
    BeDenied(&'a [&'a str]),
}

/// The records of emergencies.
const CHANGES: &str = "kubectl get emergencychanges";

const SIDECAR: &str = r#"kubectl patch deployment myapp -p '{"spec":{"template":{"spec":{"containers":[{"name":"proxy","image":"envoy:1"}]}}}}'"#;

/// Runs all steps, in order. The first one with another outcome is the error.
pub fn show(screen: Screen, shop: &mut Shop) -> Result {
    Demo { screen, shop }.before_the_guard()?;
    screen.title("2. The guard starts");
    let line = "serve, with the rights of deploy/ and the policy of deploy/examples";
    screen.command("helm-guard", line);
    shop.start_guard()?;
    let demo = Demo { screen, shop };
    demo.upgrade()?;
    demo.image()?;
    demo.scale()?;
    demo.service_account()?;
    demo.additions()?;
    demo.emergency()?;
    demo.settlement()?;
    demo.rollback_and_uninstall()?;
    screen.title("That was all: each step had the expected outcome.");
    say("`make up` leaves all of this running, to try things yourself.");
    Ok(())
}

struct Demo<'a> {
    screen: Screen,
    shop: &'a Shop,
}

impl Demo<'_> {
    fn run(&self, who: &Person, line: &str, must: &Must<'_>) -> Result<String> {
        self.screen.command(who.name, line);
        let answer = self.shop.invocation(who, line).run();
        let text = format!("{}{}", answer.stderr, answer.stdout);
        output(&shorten(&text));
        let denied = text.contains("helm-guard.dev\" denied the request");
        let warned = text.contains("Warning: helm-guard:");
        let (as_said, words): (bool, &[&str]) = match must {
            Must::Pass => (answer.status.success() && !warned, &[]),
            Must::Warn(words) => (answer.status.success() && warned, words),
            Must::BeDenied(words) => (!answer.status.success() && denied, words),
        };
        if !as_said {
            let wanted = match must {
                Must::Pass => "pass, without a word of the guard",
                Must::Warn(_) => "pass, with a warning of the guard",
                Must::BeDenied(_) => "be denied by the guard",
            };
            return Err(format!("`{line}` should {wanted}").into());
        }
        match words.iter().find(|word| !text.contains(**word)) {
            Some(word) => Err(format!("`{line}` should say {word:?}").into()),
            None => Ok(text),
        }
    }

    /// Checks a value of an object.
    fn holds(&self, what: &str, path: &str, expected: &str) -> Result {
        let line = format!("kubectl get {what} -o jsonpath={path}");
        let found = self.shop.invocation(&self.shop.bob, &line).run().stdout;
        if found == expected {
            Ok(())
        } else {
            Err(format!("{path} of {what} should be {expected}, and is {found:?}").into())
        }
    }

    /// The guard learns of a release through a watch: waits until it knows this revision.
    fn await_revision(&self, revision: u32) -> Result {
        let line = "kubectl delete deployment myapp --dry-run=server";
        let known = format!("revision {revision},");
        let started = std::time::Instant::now();
        while !self
            .shop
            .invocation(&self.shop.bob, line)
            .run()
            .says(&known)
        {
            if started.elapsed().as_secs() > 20 {
                return Err(format!("the guard should know revision {revision} by now").into());
            }
        }
        Ok(())
    }

    fn before_the_guard(&self) -> Result {
        self.screen
            .title("1. Without the guard: a release drifts, and a scan finds it");
        let Shop { alice, bob, .. } = self.shop;
        self.run(alice, "helm install myapp ./myapp --wait", &Must::Pass)?;
        self.run(
            bob,
            "kubectl set image deployment/myapp myapp=nginx:9",
            &Must::Pass,
        )?;
        self.run(bob, "kubectl delete serviceaccount myapp", &Must::Pass)?;
        let scan = "helm-guard scan -n shop";
        let mut found = self.guard_exits(bob, scan, 2)?;
        found += &self.guard_exits(bob, "helm-guard scan -n shop -o diff", 2)?;
        for words in ["Missing", "Blocks", "nginx:9", "kubectl-set"] {
            if !found.contains(words) {
                return Err(format!("the scan should find {words}").into());
            }
        }
        self.screen.see(
            "What differs from Helm's own record, who wrote it, and what the next upgrade does about it.",
        );
        self.run(
            alice,
            "helm upgrade myapp ./myapp --set image.tag=2.1.0 --force-conflicts --wait",
            &Must::Pass,
        )?;
        self.guard_exits(bob, scan, 0)?;
        self.screen.see("The upgrade took it all back.");
        Ok(())
    }

    fn upgrade(&self) -> Result {
        self.await_revision(2)?;
        self.run(
            &self.shop.alice,
            "helm upgrade myapp ./myapp --set image.tag=2.1.0 --wait",
            &Must::Pass,
        )?;
        self.holds("deployment/myapp", "{..image}", "nginx:2.1.0")?;
        self.await_revision(3)?;
        self.screen.see("The guard does not affect Helm.");
        Ok(())
    }

    fn image(&self) -> Result {
        self.screen.title("3. Somebody sets another image by hand");
        self.run(
            &self.shop.bob,
            "kubectl set image deployment/myapp myapp=nginx:9",
            &Must::BeDenied(&[
                "Deployment \"myapp\" is declared by Helm release \"myapp\" in namespace \"shop\"",
                "(revision 3, chart myapp-0.1.0)",
                ".spec.template.spec.containers[name=myapp].image: \
                 declared \"nginx:2.1.0\", live \"nginx:2.1.0\", requested \"nginx:9\"",
                "run: helm upgrade myapp <chart> -n shop",
            ]),
        )?;
        self.holds("deployment/myapp", "{..image}", "nginx:2.1.0")?;
        self.screen.see(
            "Denied. The message names the release, its revision, the field with its three values, \
             and what to do instead.",
        );
        Ok(())
    }

    fn scale(&self) -> Result {
        self.screen.title("4. A newcomer scales to zero");
        self.run(
            &self.shop.bob,
            "kubectl scale --replicas=0 deployment/myapp",
            &Must::BeDenied(&[".spec.replicas: declared 3, live 3, requested 0"]),
        )?;
        self.holds("deployment/myapp", "{.spec.replicas}", "3")?;
        self.screen
            .see("Denied, although a scale request contains neither labels nor the object.");
        Ok(())
    }

    fn service_account(&self) -> Result {
        self.screen.title("5. Somebody tidies up a ServiceAccount");
        self.run(
            &self.shop.bob,
            "kubectl delete serviceaccount myapp",
            &Must::BeDenied(&[
                "ServiceAccount \"myapp\" is declared by Helm release \"myapp\"",
                "helm uninstall myapp -n shop",
            ]),
        )?;
        self.holds("serviceaccount/myapp", "{.metadata.name}", "myapp")?;
        self.screen
            .see("Denied: the release's manifest holds it. Pods, ReplicaSets and endpoints are not declared.");
        Ok(())
    }

    fn additions(&self) -> Result {
        self.screen
            .title("6. A mesh adds a sidecar, and somebody restarts the pods");
        self.run(&self.shop.bob, SIDECAR, &Must::Pass)?;
        self.run(
            &self.shop.bob,
            "kubectl rollout restart deployment/myapp",
            &Must::Pass,
        )?;
        let names = "{.spec.template.spec.containers[*].name}";
        self.holds("deployment/myapp", names, "proxy myapp")
            .or_else(|_| self.holds("deployment/myapp", names, "myapp proxy"))?;
        self.screen
            .see("Both are allowed: the chart declares nothing about them.");
        Ok(())
    }

    /// Runs a command of the guard itself; returns the output for programs.
    fn guard(&self, who: &Person, line: &str) -> Result<String> {
        self.guard_exits(who, line, 0)
    }

    /// The same for a command that exits with this code.
    fn guard_exits(&self, who: &Person, line: &str, code: i32) -> Result<String> {
        self.screen.command(who.name, line);
        let (text, answer) = self.shop.guard_says(who, line, code)?;
        output(&text);
        Ok(answer)
    }

    /// Prints an alert of the incident channel, as one line.
    fn hear(&self, words: &[&str]) -> Result {
        let alert = self.shop.channel.hear(words)?;
        say("The incident channel:");
        output(alert["summary"].as_str().unwrap_or_default());
        Ok(())
    }

    fn emergency(&self) -> Result {
        self.screen
            .title("7. 3 AM: the memory limit must go up now. Oscar is on call");
        // The API server retries a patch that conflicts with a write of the rollout, which would record two
        // changes.
        let rollout = "kubectl rollout status deployment/myapp --timeout=60s";
        self.shop.invocation(&self.shop.bob, rollout).run();
        let oscar = &self.shop.oscar;
        let grant = self.guard(
            oscar,
            "helm-guard break-glass open --reason 'checkout OOM-killed' --ticket INC-4711 -n shop --for 1h",
        )?;
        self.screen
            .see("A grant in his name, and a token of the emergency account that expires with it.");
        self.run(
            &self.shop.emergency,
            "kubectl set resources deployment/myapp --containers=myapp --limits=memory=2Gi",
            &Must::Warn(&[
                EMERGENCY_OPS,
                "(INC-4711); reconcile it with the chart by ",
                "--force-conflicts takes the field back",
                ".resources.limits.memory: declared \"128Mi\", live \"128Mi\", requested \"2Gi\"",
            ]),
        )?;
        self.screen.see("It is allowed, with a warning.");
        self.hear(&["INC-4711", EMERGENCY_OPS, "2Gi"])?;
        self.run(oscar, CHANGES, &Must::Pass)?;
        self.guard(oscar, "helm-guard break-glass changes -n shop --values")?;
        self.screen
            .see("Recorded in the cluster: who, what, under which ticket, and the values that the chart needs.");
        self.guard(oscar, &format!("helm-guard break-glass close {grant}"))?;
        let line = "kubectl get pods";
        self.screen.command("emergency", line);
        // The API server caches an accepted token for ten seconds.
        let started = std::time::Instant::now();
        let answer = loop {
            let answer = self.shop.invocation(&self.shop.emergency, line).run();
            if answer.says("Unauthorized") {
                break answer;
            }
            if started.elapsed().as_secs() > 30 {
                return Err("the token should be invalid after the grant".into());
            }
        };
        output(&answer.stderr);
        self.screen
            .see("The grant has ended, and the token with it.");
        Ok(())
    }

    fn settlement(&self) -> Result {
        self.screen
            .title("8. In the morning the limit goes into the values");
        self.run(
            &self.shop.bob,
            "kubectl set resources deployment/myapp --containers=myapp --limits=memory=4Gi",
            &Must::BeDenied(&["declared \"128Mi\", live \"2Gi\", requested \"4Gi\""]),
        )?;
        self.run(
            &self.shop.alice,
            "helm upgrade myapp ./myapp --set image.tag=2.1.0 --set resources.limits.memory=2Gi",
            &Must::Pass,
        )?;
        self.hear(&["Absorbed", "INC-4711"])?;
        let text = self.run(&self.shop.oscar, CHANGES, &Must::Pass)?;
        if !text.contains("Absorbed") {
            return Err("the emergency change should be absorbed".into());
        }
        self.screen.see(
            "A third value is denied. The upgrade absorbs the change: the incident is settled.",
        );
        Ok(())
    }

    fn rollback_and_uninstall(&self) -> Result {
        self.screen.title("9. Helm rolls back, and uninstalls");
        let alice = &self.shop.alice;
        // The emergency account owns the limit, too: server-side apply reports a conflict.
        self.run(
            alice,
            "helm rollback myapp 1 --force-conflicts",
            &Must::Pass,
        )?;
        self.run(alice, "helm history myapp", &Must::Pass)?;
        self.run(alice, "helm uninstall myapp --wait", &Must::Pass)?;
        let left = "kubectl get deployments,services,serviceaccounts,secrets -l app.kubernetes.io/instance=myapp";
        let text = self.run(&self.shop.bob, left, &Must::Pass)?;
        if !text.contains("No resources found") {
            return Err("nothing should be left of the release".into());
        }
        self.screen
            .see("Nothing is denied, nothing hangs, nothing is left.");
        Ok(())
    }
}

/// Helm prints the chart's notes after each command; the demo leaves them out.
fn shorten(text: &str) -> String {
    let lines = text.lines().take_while(|line| *line != "NOTES:");
    lines
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

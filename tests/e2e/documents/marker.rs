//! The markers above a block: `<!-- test: setup=release myapp, exit 1 -->`. They are separated by commas.
//!
//! | marker | meaning |
//! |---|---|
//! | `setup=NAME` | what has to be there before (`terminal::setups`) |
//! | `exit N …` | the exit status of each command; 0 otherwise |
//! | `with A=B` | types B for A; `LISTEN` and `ADMIN` in B are free addresses of this machine |
//! | `serves` | the command is a server: it runs until the end of the page, or until `interrupt` |
//! | `interrupt` | first ends the servers, as Ctrl-C does |
//! | `file=NAME` | writes the block to a file |
//! | `skip, REASON` | does not run; the reason is printed |

/// The markers of a block.
#[derive(Debug, Default)]
pub struct Markers {
    pub setups: Vec<String>,
    pub statuses: Vec<i32>,
    pub replacements: Vec<(String, String)>,
    pub serves: bool,
    pub interrupt: bool,
    pub file: Option<String>,
    /// Why it does not run.
    pub skip: Option<String>,
}

impl Markers {
    /// Adds those of one comment, without `test:`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add(&mut self, comment: &str) -> Result<(), String> {
        let mut rest = Some(comment);
        while let Some(text) = rest {
            let (marker, more) = match text.split_once(',') {
                Some((marker, more)) => (marker.trim(), Some(more.trim())),
                None => (text.trim(), None),
            };
            if marker == "skip" {
                let reason = more.filter(|reason| reason.contains(' '));
                let reason = reason.ok_or("a block is skipped for a reason: skip, REASON")?;
                self.skip = Some(reason.to_owned());
                return Ok(());
            }
            self.one(marker)?;
            rest = more;
        }
        Ok(())
    }

    fn one(&mut self, marker: &str) -> Result<(), String> {
        let unknown = || format!("no such marker: {marker:?}");
        match marker {
            "serves" => self.serves = true,
            "interrupt" => self.interrupt = true,
            _ => {
                let (name, value) = marker.split_once(['=', ' ']).ok_or_else(unknown)?;
                match name {
                    "setup" => self.setups.push(value.to_owned()),
                    "file" => self.file = Some(value.to_owned()),
                    "with" => {
                        let (from, to) = value.split_once('=').ok_or_else(unknown)?;
                        self.replacements.push((from.to_owned(), to.to_owned()));
                    }
                    "exit" => {
                        let numbers = value.split_whitespace().map(str::parse);
                        let numbers: Result<Vec<i32>, _> = numbers.collect();
                        self.statuses = numbers.map_err(|_| unknown())?;
                    }
                    _ => return Err(unknown()),
                }
            }
        }
        Ok(())
    }

    /// The status that a command must exit with.
    pub fn status(&self, command: usize) -> i32 {
        self.statuses.get(command).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::Markers;

    #[test]
    fn a_reason_may_contain_commas() {
        let mut markers = Markers::default();
        markers
            .add("setup=guard Deny, skip, it needs a, and b")
            .unwrap();
        assert_eq!(markers.skip.as_deref(), Some("it needs a, and b"));
        assert_eq!(markers.setups, ["guard Deny"]);
    }

    #[rstest]
    #[case::no_reason("skip", "reason")]
    #[case::empty_reason("skip, ", "reason")]
    #[case::unknown("sikp, because of that", "no such marker")]
    #[case::no_number("exit one", "no such marker")]
    fn a_marker_that_means_nothing_is_an_error(#[case] comment: &str, #[case] says: &str) {
        let error = Markers::default().add(comment).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
}

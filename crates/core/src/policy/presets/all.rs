//! The table of presets. Each entry was taken from the source code or the manifests of the writer itself.

use super::{
    Grant::{Challenges, Change, Delete, Grow, Remove, Scale},
    Preset, PresetRule,
};
use crate::policy::control_plane::{
    CLUSTERROLE_AGGREGATION_CONTROLLER, GENERIC_GARBAGE_COLLECTOR, HORIZONTAL_POD_AUTOSCALER,
    KUBE_CONTROLLER_MANAGER, NAMESPACE_CONTROLLER, TTL_AFTER_FINISHED_CONTROLLER,
};
use crate::policy::license::License::{
    self, Annotation, AnnotationValue, Autoscaler, Field, NotNeeded, Owner, Policy,
    TerminatingNamespace,
};

const GARBAGE_COLLECTOR: &[&str] = &[GENERIC_GARBAGE_COLLECTOR, KUBE_CONTROLLER_MANAGER];

const DEPLOYMENT: (&str, &str) = ("apps", "Deployment");
const STATEFUL_SET: (&str, &str) = ("apps", "StatefulSet");
const DAEMON_SET: (&str, &str) = ("apps", "DaemonSet");
const SERVICE: (&str, &str) = ("", "Service");
const INGRESS: (&str, &str) = ("networking.k8s.io", "Ingress");
const VIRTUAL_SERVICE: (&str, &str) = ("networking.istio.io", "VirtualService");
const DESTINATION_RULE: (&str, &str) = ("networking.istio.io", "DestinationRule");
const HTTP_ROUTE: (&str, &str) = ("gateway.networking.k8s.io", "HTTPRoute");
const GRPC_ROUTE: (&str, &str) = ("gateway.networking.k8s.io", "GRPCRoute");
const TRAFFIC_SPLIT: (&str, &str) = ("split.smi-spec.io", "TrafficSplit");
const DEFINITION: (&str, &str) = ("apiextensions.k8s.io", "CustomResourceDefinition");
const API_SERVICE: (&str, &str) = ("apiregistration.k8s.io", "APIService");
const MUTATING: (&str, &str) = (
    "admissionregistration.k8s.io",
    "MutatingWebhookConfiguration",
);
const VALIDATING: (&str, &str) = (
    "admissionregistration.k8s.io",
    "ValidatingWebhookConfiguration",
);

const CA_BUNDLES: &[super::Grant] = &[
    Change("/spec/caBundle"),
    Change("/spec/conversion/webhook/clientConfig/caBundle"),
    Change("/webhooks/*/clientConfig/caBundle"),
];
const ROUTE_WEIGHTS: &[super::Grant] = &[
    Change("/spec/http/*/route/*/weight"),
    Change("/spec/tcp/*/route/*/weight"),
    Change("/spec/tls/*/route/*/weight"),
    Change("/spec/rules/*/backendRefs/*/weight"),
    Change("/spec/backends/*/weight"),
    Change("/metadata/annotations/nginx.ingress.kubernetes.io~1canary"),
    Change("/metadata/annotations/nginx.ingress.kubernetes.io~1canary-weight"),
];
const IMAGES: &[super::Grant] = &[
    Change("/spec/template/spec/containers/*/image"),
    Change("/spec/template/spec/initContainers/*/image"),
];

/// The annotations that tell cert-manager's injector which CA to put into an object.
const INJECT_CA: License = Annotation(&[
    "cert-manager.io/inject-ca-from",
    "cert-manager.io/inject-ca-from-secret",
    "cert-manager.io/inject-apiserver-ca",
]);
const SERVICE_CA: License = Annotation(&[
    "service.beta.openshift.io/inject-cabundle",
    "service.alpha.openshift.io/inject-cabundle",
]);
const IMAGE_TRIGGERS: License = Annotation(&["image.openshift.io/triggers"]);
const ROLLOUTS: License = Policy("Rollouts name the objects, and whoever may create Rollouts does");
const CANARIES: License = Policy("Canaries name the objects, and whoever may create Canaries does");
const NO_WEBHOOK: License = NotNeeded("the API server calls no webhook for webhook configurations");

/// Every preset.
pub const ALL: &[Preset] = &[
    Preset {
        name: "horizontal-pod-autoscaler",
        about: "the autoscaler sets the replicas of what it scales",
        is_default: true,
        entries: &[PresetRule {
            users: &[HORIZONTAL_POD_AUTOSCALER, KUBE_CONTROLLER_MANAGER],
            kinds: &[],
            grants: &[Scale],
            license: Autoscaler,
        }],
    },
    Preset {
        name: "namespace-controller",
        about: "the namespace controller deletes everything in a terminating namespace",
        is_default: true,
        entries: &[PresetRule {
            users: &[NAMESPACE_CONTROLLER, KUBE_CONTROLLER_MANAGER],
            kinds: &[],
            grants: &[Delete],
            license: TerminatingNamespace,
        }],
    },
    Preset {
        name: "garbage-collector",
        about: "the garbage collector deletes an object when its owner is gone",
        is_default: true,
        entries: &[
            PresetRule {
                users: GARBAGE_COLLECTOR,
                kinds: &[],
                grants: &[Delete],
                license: Owner,
            },
            PresetRule {
                users: GARBAGE_COLLECTOR,
                kinds: &[],
                grants: &[
                    Remove("/metadata/ownerReferences"),
                    Change("/metadata/ownerReferences/*/blockOwnerDeletion"),
                ],
                license: NotNeeded("it removes references to owners that are gone or orphan it"),
            },
        ],
    },
    Preset {
        name: "ttl-after-finished",
        about: "the TTL controller deletes a finished Job when its time to live is over",
        is_default: true,
        entries: &[PresetRule {
            users: &[TTL_AFTER_FINISHED_CONTROLLER, KUBE_CONTROLLER_MANAGER],
            kinds: &[("batch", "Job")],
            grants: &[Delete],
            license: Field("/spec/ttlSecondsAfterFinished"),
        }],
    },
    Preset {
        name: "clusterrole-aggregation",
        about: "the aggregation controller replaces the rules of an aggregated ClusterRole",
        is_default: true,
        entries: &[PresetRule {
            users: &[CLUSTERROLE_AGGREGATION_CONTROLLER, KUBE_CONTROLLER_MANAGER],
            kinds: &[("rbac.authorization.k8s.io", "ClusterRole")],
            grants: &[Change("/rules")],
            license: Field("/aggregationRule"),
        }],
    },
    Preset {
        name: "ca-bundle",
        about: "cert-manager's CA injector fills in CA bundles",
        is_default: true,
        entries: &[PresetRule {
            // The ServiceAccount of cert-manager's own manifests and of its chart's default release.
            users: &["system:serviceaccount:cert-manager:cert-manager-cainjector"],
            kinds: &[DEFINITION, API_SERVICE, MUTATING, VALIDATING],
            grants: CA_BUNDLES,
            license: INJECT_CA,
        }],
    },
    Preset {
        name: "cert-manager-acme-edit-in-place",
        about: "cert-manager adds and removes the routes of ACME challenges",
        is_default: true,
        entries: &[PresetRule {
            // The ServiceAccount of cert-manager's own manifests and of its chart's default release.
            users: &["system:serviceaccount:cert-manager:cert-manager"],
            kinds: &[INGRESS],
            grants: &[Challenges],
            license: AnnotationValue("acme.cert-manager.io/http01-edit-in-place", "true"),
        }],
    },
    Preset {
        name: "argo-rollouts",
        about: "Argo Rollouts shifts traffic, and scales down the Deployments that it took over",
        is_default: false,
        entries: &[
            PresetRule {
                users: &["system:serviceaccount:argo-rollouts:argo-rollouts"],
                kinds: &[SERVICE],
                grants: &[
                    Change("/spec/selector/rollouts-pod-template-hash"),
                    Change("/metadata/annotations/argo-rollouts.argoproj.io~1managed-by-rollouts"),
                ],
                license: ROLLOUTS,
            },
            PresetRule {
                users: &["system:serviceaccount:argo-rollouts:argo-rollouts"],
                kinds: &[
                    VIRTUAL_SERVICE,
                    HTTP_ROUTE,
                    GRPC_ROUTE,
                    TRAFFIC_SPLIT,
                    INGRESS,
                ],
                grants: ROUTE_WEIGHTS,
                license: ROLLOUTS,
            },
            PresetRule {
                users: &["system:serviceaccount:argo-rollouts:argo-rollouts"],
                kinds: &[DESTINATION_RULE],
                grants: &[Change("/spec/subsets/*/labels/rollouts-pod-template-hash")],
                license: ROLLOUTS,
            },
            PresetRule {
                users: &["system:serviceaccount:argo-rollouts:argo-rollouts"],
                kinds: &[DEPLOYMENT],
                grants: &[Scale, Change("/spec/replicas")],
                license: ROLLOUTS,
            },
        ],
    },
    Preset {
        name: "flagger",
        about: "Flagger shifts traffic between a primary and a canary, and scales the canary",
        is_default: false,
        entries: &[
            PresetRule {
                users: &["system:serviceaccount:flagger-system:flagger"],
                kinds: &[DEPLOYMENT],
                grants: &[Scale, Change("/spec/replicas")],
                license: CANARIES,
            },
            PresetRule {
                users: &["system:serviceaccount:flagger-system:flagger"],
                kinds: &[SERVICE],
                grants: &[Change("/spec/selector")],
                license: CANARIES,
            },
            PresetRule {
                users: &["system:serviceaccount:flagger-system:flagger"],
                kinds: &[VIRTUAL_SERVICE, HTTP_ROUTE, TRAFFIC_SPLIT, INGRESS],
                grants: ROUTE_WEIGHTS,
                license: CANARIES,
            },
        ],
    },
    Preset {
        name: "reloader",
        about: "Reloader restarts workloads when a ConfigMap or Secret changes",
        is_default: false,
        entries: &[PresetRule {
            users: &["system:serviceaccount:reloader:reloader-reloader"],
            kinds: &[DEPLOYMENT, STATEFUL_SET, DAEMON_SET],
            grants: &[
                Change(
                    "/spec/template/metadata/annotations/reloader.stakater.com~1last-reloaded-from",
                ),
                Change("/spec/template/spec/containers/*/env"),
                Change("/spec/template/spec/initContainers/*/env"),
            ],
            license: Policy(
                "annotations name what to reload; it restarts and changes no image or command",
            ),
        }],
    },
    Preset {
        name: "keda",
        about: "KEDA scales to and from zero what its ScaledObjects name",
        is_default: false,
        entries: &[PresetRule {
            users: &["system:serviceaccount:keda:keda-operator"],
            kinds: &[],
            grants: &[Scale],
            license: Autoscaler,
        }],
    },
    Preset {
        name: "cluster-proportional-autoscaler",
        about: "replicas follow the size of the cluster",
        is_default: false,
        entries: &[PresetRule {
            users: &["system:serviceaccount:kube-system:cluster-proportional-autoscaler"],
            kinds: &[
                DEPLOYMENT,
                ("apps", "ReplicaSet"),
                ("", "ReplicationController"),
            ],
            grants: &[Scale, Change("/spec/replicas")],
            license: NotNeeded("its target is one of its own flags"),
        }],
    },
    Preset {
        name: "pvc-growth",
        about: "anyone may increase the size of a claim: volumes grow and never shrink",
        is_default: false,
        entries: &[PresetRule {
            users: &[],
            kinds: &[("", "PersistentVolumeClaim")],
            grants: &[Grow("/spec/resources/requests/storage")],
            license: NotNeeded("a claim only grows"),
        }],
    },
    Preset {
        name: "openshift",
        about: "OpenShift's controllers: pull secrets, image triggers, security annotations, service CA",
        is_default: false,
        entries: &[
            PresetRule {
                users: &[
                    "system:serviceaccount:openshift-infra:serviceaccount-pull-secrets-controller",
                ],
                kinds: &[("", "ServiceAccount")],
                grants: &[Change("/secrets"), Change("/imagePullSecrets")],
                license: NotNeeded("it handles every ServiceAccount"),
            },
            PresetRule {
                users: &["system:serviceaccount:openshift-infra:image-trigger-controller"],
                kinds: &[DEPLOYMENT, STATEFUL_SET, DAEMON_SET],
                grants: IMAGES,
                license: IMAGE_TRIGGERS,
            },
            PresetRule {
                users: &["system:serviceaccount:openshift-infra:image-trigger-controller"],
                kinds: &[("batch", "CronJob")],
                grants: &[
                    Change("/spec/jobTemplate/spec/template/spec/containers/*/image"),
                    Change("/spec/jobTemplate/spec/template/spec/initContainers/*/image"),
                ],
                license: IMAGE_TRIGGERS,
            },
            PresetRule {
                users: &[
                    "system:serviceaccount:openshift-infra:namespace-security-allocation-controller",
                ],
                kinds: &[("", "Namespace")],
                grants: &[
                    Change("/metadata/annotations/openshift.io~1sa.scc.mcs"),
                    Change("/metadata/annotations/openshift.io~1sa.scc.supplemental-groups"),
                    Change("/metadata/annotations/openshift.io~1sa.scc.uid-range"),
                ],
                license: NotNeeded("it handles every Namespace"),
            },
            PresetRule {
                users: &["system:serviceaccount:openshift-service-ca:service-ca"],
                kinds: &[DEFINITION, API_SERVICE, MUTATING, VALIDATING],
                grants: CA_BUNDLES,
                license: SERVICE_CA,
            },
            PresetRule {
                users: &["system:serviceaccount:openshift-service-ca:service-ca"],
                kinds: &[("", "ConfigMap")],
                grants: &[Change("/data/service-ca.crt")],
                license: SERVICE_CA,
            },
        ],
    },
    Preset {
        name: "istio",
        about: "istiod fills in the CA bundles of its webhooks, and lets them fail once they work",
        is_default: false,
        entries: &[PresetRule {
            users: &["system:serviceaccount:istio-system:istiod"],
            kinds: &[MUTATING, VALIDATING],
            grants: &[
                Change("/webhooks/*/clientConfig/caBundle"),
                Change("/webhooks/*/failurePolicy"),
            ],
            license: NO_WEBHOOK,
        }],
    },
    Preset {
        name: "vault",
        about: "the Vault agent injector fills in the CA bundle of its webhook",
        is_default: false,
        entries: &[PresetRule {
            users: &["system:serviceaccount:vault:vault-agent-injector"],
            kinds: &[MUTATING],
            grants: &[Change("/webhooks/*/clientConfig/caBundle")],
            license: NO_WEBHOOK,
        }],
    },
    Preset {
        name: "gatekeeper",
        about: "Gatekeeper's certificate rotation fills in the CA bundles of its webhooks",
        is_default: false,
        entries: &[PresetRule {
            users: &["system:serviceaccount:gatekeeper-system:gatekeeper-admin"],
            kinds: &[MUTATING, VALIDATING, DEFINITION],
            grants: CA_BUNDLES,
            license: NotNeeded("its own flags name the objects"),
        }],
    },
];

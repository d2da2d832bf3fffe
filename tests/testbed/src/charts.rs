//! The charts that several tests install.

use crate::Chart;

/// A typical application: a Deployment with its configuration, a Service, and a ServiceAccount.
///
/// Values: `replicas`, `image`, `memory`, `serviceType`, `broken` (an Ingress that the API server
/// rejects, which Helm sends after the Deployment), `extra` (a ConfigMap).
pub fn myapp(version: &str) -> Chart {
    Chart::new("myapp", version)
        .values(VALUES)
        .template("account.yaml", ACCOUNT)
        .template("config.yaml", CONFIG)
        .template("secret.yaml", SECRET)
        .template("service.yaml", SERVICE)
        .template("deployment.yaml", DEPLOYMENT)
        .template("ingress.yaml", INGRESS)
        .template("extra.yaml", EXTRA)
}

const VALUES: &str = "\
replicas: 3
image: nginx:2.0.0
memory: 128Mi
colour: blue
serviceType: ClusterIP
broken: false
extra: false
";

const ACCOUNT: &str = "\
apiVersion: v1
kind: ServiceAccount
metadata: {name: '{{ .Release.Name }}'}
";

const CONFIG: &str = "\
apiVersion: v1
kind: ConfigMap
metadata:
  name: '{{ .Release.Name }}'
data:
  colour: '{{ .Values.colour }}'
  limits.conf: |
    connections = 100
";

const SECRET: &str = "\
apiVersion: v1
kind: Secret
metadata: {name: '{{ .Release.Name }}'}
stringData: {password: open-sesame-1}
";

const SERVICE: &str = "\
apiVersion: v1
kind: Service
metadata: {name: '{{ .Release.Name }}'}
spec:
  type: '{{ .Values.serviceType }}'
  selector: {app: '{{ .Release.Name }}'}
  ports: [{name: http, port: 80, targetPort: http}]
";

const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: '{{ .Release.Name }}'}
spec:
  replicas: {{ .Values.replicas }}
  selector:
    matchLabels: {app: '{{ .Release.Name }}'}
  template:
    metadata:
      labels:
        app: '{{ .Release.Name }}'
        app.kubernetes.io/managed-by: Helm
    spec:
      serviceAccountName: '{{ .Release.Name }}'
      containers:
        - name: server
          image: '{{ .Values.image }}'
          args: [--verbose, --port=8080]
          env:
            - {name: COLOUR, value: '{{ .Values.colour }}'}
            - {name: MODE, value: production}
          ports: [{name: http, containerPort: 8080}]
          resources:
            limits: {cpu: 1000m, memory: '{{ .Values.memory }}'}
";

const INGRESS: &str = "\
{{- if .Values.broken }}
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: '{{ .Release.Name }}'}
spec:
  rules:
    - http:
        paths:
          - path: no-leading-slash
            pathType: Prefix
            backend: {service: {name: '{{ .Release.Name }}', port: {number: 80}}}
{{- end }}
";

const EXTRA: &str = "\
{{- if .Values.extra }}
apiVersion: v1
kind: ConfigMap
metadata: {name: '{{ .Release.Name }}-extra'}
data: {made: 'yes'}
{{- end }}
";

/// A chart of one template.
pub fn single(manifest: &str) -> Chart {
    Chart::new("single", "1.0.0").template("objects.yaml", manifest)
}

/// The smallest release.
pub const CONFIG_MAP: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue}
";

/// A CRD with a name of this namespace's own, because its kind is cluster-scoped.
pub fn widgets_crd(group: &str) -> String {
    WIDGETS.replace("GROUP", group)
}

const WIDGETS: &str = "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.GROUP}
spec:
  group: GROUP
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget, listKind: WidgetList}
  versions:
    - name: v1
      served: true
      storage: true
      subresources:
        scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.size}
      schema:
        openAPIV3Schema:
          type: object
          properties:
            status: {type: object, properties: {size: {type: integer}}}
            spec:
              type: object
              properties:
                size: {type: integer}
                colour: {type: string}
                shape: {type: string}
                memory: {x-kubernetes-int-or-string: true}
                parts:
                  type: array
                  x-kubernetes-list-type: map
                  x-kubernetes-list-map-keys: [name]
                  items:
                    type: object
                    required: [name]
                    properties: {name: {type: string}, weight: {type: integer}}
                tags: {type: array, items: {type: string}}
";

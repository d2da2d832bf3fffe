//! A panel: what it asks of Prometheus and how it shows the answer, as Grafana's JSON.

use serde_json::{Value, json};

/// What stands for the filter by namespace and release in a query.
const FILTER: (&str, &str) = (
    "{releases",
    r#"{namespace=~"$namespace", release=~"$release""#,
);

/// A query, and what its series are called.
pub struct PanelQuery {
    expression: String,
    legend: &'static str,
}

pub fn query(expression: &str, legend: &'static str) -> PanelQuery {
    let expression = expression.split_whitespace().collect::<Vec<_>>().join(" ");
    PanelQuery {
        expression: expression.replace(FILTER.0, FILTER.1),
        legend,
    }
}

/// How a panel shows its series.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Visualization {
    Number,
    Graph,
    Bars,
    Table,
}

/// A panel: the constructors say how it shows its queries, the other functions refine that.
pub struct Panel {
    title: &'static str,
    description: &'static str,
    visualization: Visualization,
    queries: Vec<PanelQuery>,
    unit: &'static str,
    max: Option<f64>,
    is_stacked: bool,
    /// From which value on which color applies; the first from the smallest on.
    colors: Vec<(Option<f64>, &'static str)>,
}

impl Panel {
    fn new(
        title: &'static str,
        description: &'static str,
        visualization: Visualization,
        queries: impl IntoIterator<Item = PanelQuery>,
    ) -> Self {
        Self {
            title,
            description,
            visualization,
            queries: queries.into_iter().collect(),
            unit: "short",
            max: None,
            is_stacked: false,
            colors: vec![(None, "green")],
        }
    }

    /// The current value, large.
    pub fn number(
        title: &'static str,
        description: &'static str,
        queries: impl IntoIterator<Item = PanelQuery>,
    ) -> Self {
        Self::new(title, description, Visualization::Number, queries)
    }

    /// Values over time.
    pub fn graph(
        title: &'static str,
        description: &'static str,
        queries: impl IntoIterator<Item = PanelQuery>,
    ) -> Self {
        Self::new(title, description, Visualization::Graph, queries)
    }

    /// Current values as bars.
    pub fn bars(
        title: &'static str,
        description: &'static str,
        queries: impl IntoIterator<Item = PanelQuery>,
    ) -> Self {
        Self::new(title, description, Visualization::Bars, queries)
    }

    /// Current values with their labels, one query a column.
    pub fn table(
        title: &'static str,
        description: &'static str,
        queries: impl IntoIterator<Item = PanelQuery>,
    ) -> Self {
        Self::new(title, description, Visualization::Table, queries)
    }

    /// Grafana's name of the unit; `short` otherwise.
    pub fn unit(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }

    /// The end of the scale.
    pub fn up_to(mut self, max: f64) -> Self {
        self.max = Some(max);
        self
    }

    pub fn stacked(mut self) -> Self {
        self.is_stacked = true;
        self
    }

    pub fn orange_from(mut self, value: f64) -> Self {
        self.colors.push((Some(value), "orange"));
        self
    }

    pub fn red_from(mut self, value: f64) -> Self {
        self.colors.push((Some(value), "red"));
        self
    }

    pub fn red_below(mut self, value: f64) -> Self {
        self.colors = vec![(None, "red"), (Some(value), "green")];
        self
    }

    /// Columns and rows of the grid.
    pub fn size(&self) -> (u64, u64) {
        match self.visualization {
            Visualization::Number => (6, 4),
            Visualization::Graph | Visualization::Bars | Visualization::Table => (12, 8),
        }
    }

    fn targets(&self) -> Vec<Value> {
        let is_graph = self.visualization == Visualization::Graph;
        let format = if self.visualization == Visualization::Table {
            "table"
        } else {
            "time_series"
        };
        let target = |(id, query): (String, &PanelQuery)| {
            json!({
                "refId": id,
                "datasource": datasource(),
                "editorMode": "code",
                "expr": query.expression,
                "legendFormat": query.legend,
                "format": format,
                "instant": !is_graph,
                "range": is_graph,
            })
        };
        ids().zip(&self.queries).map(target).collect()
    }

    /// In a table: rows with the same labels become one, and values are called as their query.
    fn transformations(&self) -> Value {
        if self.visualization != Visualization::Table {
            return json!([]);
        }
        let mut names = serde_json::Map::new();
        for (id, query) in ids().zip(&self.queries) {
            names.insert(format!("Value #{id}"), query.legend.into());
            if self.queries.len() == 1 {
                names.insert("Value".to_owned(), query.legend.into());
            }
        }
        json!([
            { "id": "merge", "options": {} },
            {
                "id": "organize",
                "options": { "excludeByName": { "Time": true }, "indexByName": {}, "renameByName": names },
            },
        ])
    }

    fn custom(&self) -> Value {
        match self.visualization {
            Visualization::Graph => {
                let stacking = if self.is_stacked { "normal" } else { "none" };
                json!({
                    "drawStyle": "line",
                    "fillOpacity": if self.is_stacked { 40 } else { 10 },
                    "lineWidth": 1,
                    "showPoints": "never",
                    "stacking": { "group": "A", "mode": stacking },
                })
            }
            Visualization::Table => json!({ "align": "auto", "cellOptions": { "type": "auto" } }),
            Visualization::Number | Visualization::Bars => json!({}),
        }
    }

    fn field_config(&self) -> Value {
        let steps = self.colors.iter();
        let steps: Vec<Value> = steps
            .map(|(from, color)| json!({ "value": from, "color": color }))
            .collect();
        let color = if self.visualization == Visualization::Graph {
            "palette-classic"
        } else {
            "thresholds"
        };
        let min = (self.visualization != Visualization::Number).then_some(0);
        let defaults = json!({
            "unit": self.unit,
            "min": min,
            "max": self.max,
            "color": { "mode": color },
            "custom": self.custom(),
            "thresholds": { "mode": "absolute", "steps": steps },
        });
        json!({ "defaults": defaults, "overrides": [] })
    }

    fn options(&self) -> Value {
        let reduce = json!({ "calcs": ["lastNotNull"], "fields": "", "values": false });
        match self.visualization {
            Visualization::Number => json!({
                "colorMode": "value",
                "graphMode": "none",
                "justifyMode": "auto",
                "orientation": "auto",
                "reduceOptions": reduce,
                "textMode": if self.queries.len() == 1 { "value" } else { "value_and_name" },
            }),
            Visualization::Graph => json!({
                "legend": { "calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": true },
                "tooltip": { "mode": "multi", "sort": "desc" },
            }),
            Visualization::Bars => json!({
                "displayMode": "basic",
                "orientation": "horizontal",
                "reduceOptions": reduce,
                "showUnfilled": true,
                "valueMode": "color",
            }),
            Visualization::Table => json!({ "cellHeight": "sm", "showHeader": true }),
        }
    }

    pub fn to_json(&self, id: usize, position: &Value) -> Value {
        let kind = match self.visualization {
            Visualization::Number => "stat",
            Visualization::Graph => "timeseries",
            Visualization::Bars => "bargauge",
            Visualization::Table => "table",
        };
        json!({
            "id": id,
            "type": kind,
            "title": self.title,
            "description": self.description,
            "datasource": datasource(),
            "gridPos": position,
            "targets": self.targets(),
            "transformations": self.transformations(),
            "fieldConfig": self.field_config(),
            "options": self.options(),
        })
    }
}

/// Names of the queries of a panel: A, B, C.
fn ids() -> impl Iterator<Item = String> {
    ('A'..='Z').map(String::from)
}

/// The data source that the variable names.
pub fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

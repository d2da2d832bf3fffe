// Command yaml-golden writes expected.json: what Helm's YAML parser makes of each file in cases/.
//
// Run it in this directory after a change to cases/ (go run . > expected.json); the test
// yaml_reads_as_go_reads_it compares the project's own reading with it.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// outcome holds either the JSON or the error, never both.
type outcome struct {
	JSON  json.RawMessage `json:"json,omitempty"`
	Error string          `json:"error,omitempty"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "yaml-golden:", err)
		os.Exit(1)
	}
}

func run() error {
	files, err := filepath.Glob("cases/*.yaml")
	if err != nil {
		return err
	}
	expected := make(map[string]outcome, len(files))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		expected[strings.TrimSuffix(filepath.Base(file), ".yaml")] = read(text)
	}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	return out.Encode(expected)
}

func read(text []byte) outcome {
	converted, err := yaml.YAMLToJSON(text)
	if err != nil {
		return outcome{Error: err.Error()}
	}
	return outcome{JSON: converted}
}

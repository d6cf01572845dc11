package telemetry_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// An alert on a metric that nobody exports never fires, and nobody notices.
func TestAlertsAreOnMetricsThatExist(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "names.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if literal, is := n.(*ast.BasicLit); is && literal.Kind == token.STRING {
			if name, err := strconv.Unquote(literal.Value); err == nil {
				known[name] = true
			}
		}
		return true
	})
	rules, err := os.ReadFile("../../deploy/alerts/hybrid-gateway.yaml")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`eks_hybrid_gateway_\w+`).FindAllString(string(rules), -1)
	for _, name := range named {
		if !known[strings.TrimSuffix(name, "_total")] {
			t.Errorf("no service exports %s", name)
		}
	}
	if len(named) != strings.Count(string(rules), "expr:") {
		t.Errorf("%d metrics in %d rules", len(named), strings.Count(string(rules), "expr:"))
	}
}

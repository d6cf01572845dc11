package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What the pages print as the output of --help is what the programs print, but for how
// the lines are broken.
func TestDocsShowTheHelp(t *testing.T) {
	root, binDir := places(t)
	if _, err := os.Stat(filepath.Join(binDir, "lab")); err != nil {
		if os.Geteuid() == 0 {
			t.Fatalf("needs the programs in %s: make build", binDir)
		}
		t.Skipf("needs the programs in %s: make build", binDir)
	}
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range strings.Split(string(text), "```\nUsage: ")[1:] {
			block, _, _ = strings.Cut(block, "```")
			name, _, _ := strings.Cut(block, " ")
			help, err := exec.Command(filepath.Join(binDir, name), "--help").Output()
			if err != nil {
				t.Fatalf("%s --help: %v", name, err)
			}
			found++
			if got, want := words(block), words(strings.TrimPrefix(string(help), "Usage: ")); !strings.HasPrefix(want, got) {
				t.Errorf("%s shows of %s --help\n%s\nthe program prints\n%s", filepath.Base(page), name, block, help)
			} else if page := filepath.Base(page); page == name+".md" && name != "lab" && got != want {
				t.Errorf("%s leaves out the end of %s --help:\n%s", page, name, help)
			}
		}
	}
	if want := 6; found < want { // five services, the lab
		t.Errorf("found %d outputs of --help in docs, want at least %d", found, want)
	}
}

func words(s string) string { return strings.Join(strings.Fields(s), " ") }

// Package stoker_test holds what no single package can: the rules that the code
// as a whole keeps.
package stoker_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// modulePath begins the import path of everything that is ours.
const modulePath = "github.com/stoker-init/stoker"

// edges are the imports that are allowed among our packages; an edge goes down only.
func edges() map[string][]string {
	return map[string][]string{
		// it measures them
		"bench":                      {"executor", "executor/client", "executor/journal", "hooks", "internal/lifecycle", "internal/logs", "internal/proc", "internal/pid1", "internal/initproto", "internal/freeport", "internal/httpload"},
		"internal/access":            {"internal/execshim", "internal/exit", "internal/headroom", "internal/printable", "internal/procfs", "internal/suggest", "internal/untrusted"},
		"internal/access/accesstest": {},
		"internal/api": {"internal/access", "executor", "executor/schedule", "supervisor/incident", "supervisor", "internal/lifecycle", "internal/logs", "internal/proc",
			"internal/procfs", "hooks", "internal/events", "internal/suggest", "internal/trust", "internal/redact", "hooks/plugin",
			"internal/console", "internal/console/recording", "internal/console/wire", "internal/program", "internal/page"},
		"hooks/plugin": {"internal/lazyregexp", "hooks", "internal/lifecycle", "jvm", "internal/suggest", "internal/trust", "internal/reference",
			"internal/untrusted", "internal/redact", "internal/statefile"},
		"hooks": {"internal/initproto", "internal/lazyregexp", "internal/printable", "internal/program", "internal/lifecycle", "internal/logs", "internal/proc", "jvm",
			"internal/remote", "internal/suggest", "internal/trust", "internal/reference", "internal/untrusted", "internal/redact",
			"internal/fdstore", "internal/asuser"},
		"executor": {"executor/workspace", "executor/journal", "executor/output", "internal/asuser", "internal/execshim", "internal/fdstore", "internal/lifecycle",
			"internal/logs", "internal/proc", "internal/program", "internal/redact", "internal/suggest", "jvm"},
		"executor/workspace":       {},
		"internal/console/client":  {"internal/access", "internal/api", "internal/console/wire"},
		"internal/klauspost/flate": {},
		"internal/tzdata":          {},
		"internal/nuid":            {},
		"internal/page":            {},
		"executor/client":          {"executor", "executor/schedule"},
		"executor/journal":         {"internal/lazyregexp"},
		"executor/mesos":           {"executor"},
		"executor/mesos/mesostest": {"internal/freeport"},
		"internal/freeport":        {},
		"internal/httpload":        {},
		"executor/natsjob":         {"executor", "internal/untrusted"},
		"executor/output":          {},
		"executor/schedule":        {"executor"},
		"internal/asuser":          {"internal/procfs"},
		"internal/cgroup":          {"internal/mounts"},
		"internal/console": {"internal/access", "internal/asuser", "internal/fdstore", "internal/headroom", "internal/initproto", "internal/proc", "internal/program",
			"internal/suggest", "jvm"},
		"internal/service": {"executor", "hooks", "internal/console", "internal/asuser", "internal/cgroup", "internal/config", "internal/execshim", "internal/exit",
			"internal/initproto", "internal/layeredyaml", "internal/lazyregexp", "internal/listen", "internal/proc", "internal/redact", "internal/reference",
			"internal/untrusted", "jvm",
			"jvm/tomcat", "supervisor", "supervisor/probe"},
		"jvm/tools":   {"internal/api", "internal/trust", "internal/untrusted", "jvm/hotspot", "jvm/launch", "supervisor"},
		"jvm/drain":   {"jvm/hotspot"},
		"jvm/rollout": {"supervisor"},
		"jvm/training": {"executor", "internal/asuser", "internal/cgroup", "internal/config", "internal/exit", "internal/layout", "internal/listen",
			"internal/printable", "internal/suggest", "internal/wholefile", "jvm", "jvm/archive", "jvm/hotspot", "jvm/launch", "supervisor", "supervisor/probe"},
		"jvm/resize": {"jvm", "jvm/hotspot"},
		"jvm/launch": {"jvm/resize", "jvm/rollout", "hooks", "hooks/plugin", "internal/asuser", "internal/cgroup", "internal/config", "internal/exit",
			"internal/fdstore", "internal/filewatch", "internal/layout", "internal/listen", "internal/printable", "internal/proc", "internal/procfs", "internal/redact",
			"internal/remote", "internal/service", "internal/untrusted", "internal/wholefile", "jvm", "jvm/archive", "jvm/drain", "jvm/hotspot", "jvm/tomcat", "supervisor", "supervisor/incident", "supervisor/probe"},
		"jvm/archive": {"internal/statefile", "internal/trust", "internal/untrusted", "internal/wholefile", "jvm/hotspot", "jvm/tomcat"},
		"internal/daemon": {"internal/access", "executor", "executor/mesos", "executor/natsjob", "executor/schedule", "internal/suggest", "hooks", "hooks/plugin", "internal/api", "internal/asuser", "internal/cgroup", "internal/config", "internal/console",
			"internal/console/audit", "internal/console/recording",
			"internal/events", "internal/exit", "internal/fdstore", "internal/filewatch", "internal/initproto", "internal/layeredyaml", "internal/lifecycle",
			"internal/listen", "internal/network",
			"internal/logqueue", "internal/logfile", "internal/logs", "internal/memory", "internal/printable", "internal/proc",
			"internal/procfs", "internal/redact", "internal/service", "internal/signals", "internal/trust", "internal/untrusted", "jvm", "jvm/launch", "jvm/rollout", "jvm/tomcat",
			"jvm/tools", "jvm/training", "supervisor"},
		"internal/events": {"internal/lifecycle", "internal/proc", "internal/redact", "internal/fdstore"},
		"internal/exit":   {},
		"internal/mounts": {},
		"internal/network": {"internal/api", "internal/exit", "internal/fdstore", "internal/redact", "internal/remote", "netinit",
			"netinit/kernel", "netinit/source"},
		"netinit":             {"internal/layeredyaml"},
		"netinit/kernel":      {"internal/procfs", "internal/statefile", "internal/untrusted", "netinit", "netinit/inplace", "netinit/neighbor"},
		"netinit/neighbor":    {},
		"netinit/inplace":     {"internal/untrusted"},
		"netinit/source":      {"internal/layout", "internal/redact", "internal/remote", "netinit"},
		"internal/jacoco":     {"internal/wholefile"},
		"internal/wholefile":  {},
		"internal/lifecycle":  {},
		"internal/lazyregexp": {},
		"internal/layout":     {},
		// For the parts of the schema, and proc for what it alone knows how to read.
		"internal/config": {"internal/lazyregexp",
			"executor",
			"executor/mesos",
			"executor/natsjob",
			"executor/schedule",
			"hooks",
			"hooks/plugin",
			"internal/api",
			"internal/console",
			"internal/execshim",
			"internal/filewatch",
			"internal/layeredyaml",
			"internal/lifecycle",
			"internal/listen",
			"internal/logfile",
			"internal/logs",
			"internal/printable",
			"internal/proc",
			"internal/redact",
			"internal/reference",
			"internal/remote",
			"internal/suggest",
			"jvm",
			"jvm/tomcat",
			"netinit",
			"netinit/source",
			"supervisor",
			"supervisor/probe",
		},
		"internal/layeredyaml": {"internal/lazyregexp", "internal/printable", "internal/redact", "internal/reference", "internal/suggest", "internal/untrusted"},
		"internal/filewatch":   {"internal/headroom", "internal/proc", "internal/untrusted"},
		"jvm/hotspot":          {"internal/lazyregexp", "internal/untrusted", "internal/asuser", "internal/procfs", "jvm"},
		"internal/fdstore":     {"internal/initproto"},
		"internal/initproto":   {"internal/procfs"},
		"internal/pid1": {"internal/logqueue", "internal/initstore", "internal/initproto", "internal/procfs", "internal/exit",
			"internal/fdready", "internal/headroom", "internal/memory", "internal/signals", "internal/spawn", "internal/terminal",
			"internal/waitid"},
		"internal/fdready":   {},
		"internal/initstore": {"internal/initproto", "internal/logpipes"},
		"internal/logqueue":  {},
		"internal/logpipes":  {"internal/fdready", "internal/initproto"},
		"internal/signals":   {},
		"internal/terminal":  {},
		"internal/headroom":  {"internal/initproto", "internal/waitid"},
		"internal/memory":    {},
		"internal/spawn":     {},
		"internal/waitid":    {"internal/initproto"},
		"internal/procfs":    {},
		"internal/program":   {"internal/execshim", "internal/untrusted"},
		"internal/logs":      {"internal/fdstore", "internal/logfile", "internal/logs/space"},
		"internal/logfile":   {"internal/trust", "internal/untrusted"},
		// which bytes of the memfd of a log are free
		"internal/logs/space": {},
		"internal/proc": {"internal/program", "internal/printable", "internal/logs", "internal/procfs", "internal/trust",
			"internal/untrusted", "internal/asuser", "internal/initproto", "internal/fdstore", "internal/execshim", "internal/headroom",
			"internal/listen", "internal/waitid"},
		"internal/listen":   {"internal/asuser", "internal/fdstore", "internal/procfs", "internal/untrusted"},
		"internal/execshim": {"internal/procfs", "internal/untrusted", "internal/terminal"},
		"internal/remote":   {"internal/redact", "internal/trust", "internal/reference", "internal/untrusted", "internal/statefile"},
		"internal/redact":   {"internal/lazyregexp"},
		// for the words of the JVM that it runs in, and to split its options
		"jvm/tomcat":         {"jvm/hotspot", "jvm", "internal/untrusted", "internal/xmlfile"},
		"internal/xmlfile":   {"internal/lazyregexp"},
		"internal/suggest":   {},
		"internal/printable": {},
		"jvm":                {"internal/suggest", "internal/printable"},
		"internal/statefile": {"internal/trust", "internal/untrusted"},
		"supervisor": {"internal/fdstore", "internal/listen", "internal/program", "internal/lifecycle", "supervisor/incident", "internal/logs",
			"internal/proc", "internal/procfs", "internal/redact", "internal/untrusted", "internal/initproto", "supervisor/probe", "internal/exit"},
		"supervisor/incident": {"internal/headroom", "internal/fdstore", "internal/proc", "internal/redact", "internal/untrusted"},
		"supervisor/probe":    {"internal/printable", "internal/proc", "internal/redact", "internal/untrusted"},
		"internal/trust":      {"internal/mounts", "internal/untrusted"},
		"internal/untrusted":  {},
		"internal/reference":  {"internal/lazyregexp"},

		"internal/console/wire":      {"internal/access", "internal/console", "internal/program"},
		"internal/console/recording": {"internal/console", "internal/lazyregexp", "internal/printable", "internal/trust", "internal/untrusted"},
		"internal/console/audit":     {"internal/console", "internal/logfile", "internal/printable", "internal/redact"},

		"internal/cmdline": {"internal/display", "internal/exit", "internal/layout", "internal/suggest"},
		"internal/display": {"internal/layout", "internal/printable"},
		"agent": {"executor", "executor/client", "internal/access", "internal/api", "internal/cgroup", "internal/lazyregexp", "internal/trust",
			"internal/untrusted", "jvm", "supervisor"},
		"cmd/stoker": {
			"agent",
			"executor",
			"executor/client",
			"executor/output",
			"executor/schedule",
			"hooks",
			"hooks/plugin",
			"internal/access",
			"internal/api",
			"internal/cgroup",
			"internal/cmdline",
			"internal/config",
			"internal/console",
			"internal/console/client",
			"internal/console/recording",
			"internal/daemon",
			"internal/display",
			"internal/events",
			"internal/execshim",
			"internal/exit",
			"internal/initproto",
			"internal/jacoco",
			"internal/layeredyaml",
			"internal/layout",
			"internal/lazyregexp",
			"internal/lifecycle",
			"internal/logs",
			"internal/network",
			"internal/pid1",
			"internal/printable",
			"internal/proc",
			"internal/program",
			"internal/redact",
			"internal/remote",
			"internal/service",
			"internal/suggest",
			"internal/terminal",
			"internal/tzdata",
			"internal/untrusted",
			"internal/wholefile",
			"jvm",
			"jvm/launch", "jvm/training",
			"netinit",
			"netinit/kernel",
			"netinit/source",
			"supervisor",
			"supervisor/incident",
		},
	}
}

// homes are the only importers of the modules that are not ours. hclog and x/sys
// are everywhere and not listed.
func homes() map[string]string {
	return map[string]string{
		"github.com/urfave/cli/v2":         "cmd/stoker internal/cmdline",
		"github.com/containerd/cgroups/v3": "internal/cgroup",
		"github.com/creack/pty":            "internal/proc/terminal.go",
		"gopkg.in/yaml.v3":                 "internal/layeredyaml/yaml.go",
		"github.com/vishvananda/netlink":   "netinit/kernel",
		"github.com/fsnotify/fsnotify":     "internal/filewatch/filewatch.go",
		"github.com/moby/sys/mountinfo":    "internal/mounts",
		"github.com/nats-io/nats.go":       "executor/natsjob",
		"github.com/robfig/cron/v3":        "executor/schedule",
		"golang.org/x/text":                "internal/xmlfile jvm/tomcat",
		"github.com/gorilla/websocket":     "internal/console/wire internal/console/client",
	}
}

// variables are the package variables that may be there, with the reason.
func variables() map[string]string {
	return map[string]string{
		"cmd/stoker.version":                "the linker sets it",
		"internal/layeredyaml.sectionTypes": "what reflection says of the types, which never changes",
	}
}

// source is one parsed Go file.
type source struct {
	path string // from the repository's root, with slashes
	dir  string // of path; "." is the root
	test bool
	file *ast.File
	fset *token.FileSet
}

// at is a position for a message.
func (s source) at(n ast.Node) string {
	return fmt.Sprintf("%s:%d", s.path, s.fset.Position(n.Pos()).Line)
}

// imports are the file's import paths.
func (s source) imports() []string {
	var out []string
	for _, spec := range s.file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err == nil {
			out = append(out, path)
		}
	}
	return out
}

// sources parses every Go file of the repository, whatever its build tags.
func sources(t *testing.T) []source {
	t.Helper()
	all, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// parsed parses them once for all tests.
var parsed = sync.OnceValues(func() (out []source, err error) {
	paths, err := tracked()
	for _, path := range paths {
		if !strings.HasSuffix(path, ".go") {
			continue
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		out = append(out, source{path, filepath.ToSlash(filepath.Dir(path)), strings.HasSuffix(path, "_test.go"), file, fset})
	}
	return out, err
})

// files are the repository's.
func files(t *testing.T) []string {
	t.Helper()
	paths, err := tracked()
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// tracked lists what belongs to the repository: what git knows or would add, or
// without git everything but what is built.
func tracked() ([]string, error) {
	if out, err := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output(); err == nil {
		all := strings.Split(strings.TrimRight(string(out), "\x00"), "\x00")
		return slices.DeleteFunc(all, func(path string) bool {
			info, err := os.Lstat(path)
			return err != nil || !info.Mode().IsRegular()
		}), nil
	}
	var out []string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (path == ".git" || path == "bin"):
			return fs.SkipDir
		case d.Type().IsRegular():
			out = append(out, path)
		}
		return nil
	})
	return out, err
}

// ours are the files of the product itself.
func ours(all []source) []source {
	return slices.DeleteFunc(slices.Clone(all), func(s source) bool { return s.test })
}

func TestImportsGoOneWay(t *testing.T) {
	for _, s := range ours(sources(t)) {
		allowed, known := edges()[s.dir]
		if !known {
			t.Errorf("%s: the package %s is not in the graph of this test: say what it may import", s.path, s.dir)
		}
		for _, path := range s.imports() {
			if dir, ok := strings.CutPrefix(path, modulePath+"/"); ok && !slices.Contains(allowed, dir) {
				t.Errorf("%s imports %s; allowed for %s: %v", s.path, dir, s.dir, allowed)
			}
		}
	}
}

// external says whether an import is neither ours nor of the standard library.
func external(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return strings.Contains(first, ".") && path != modulePath && !strings.HasPrefix(path, modulePath+"/")
}

func TestModulesStayAtHome(t *testing.T) {
	for _, s := range ours(sources(t)) {
		for _, path := range s.imports() {
			if !external(path) {
				continue
			}
			switch s.dir {
			case "jvm":
				t.Errorf("%s imports %s: package jvm has the standard library only", s.path, path)
			case "internal/pid1", "internal/exit", "internal/fdready", "internal/headroom", "internal/initproto", "internal/initstore",
				"internal/logpipes", "internal/logqueue", "internal/memory", "internal/procfs", "internal/signals", "internal/spawn",
				"internal/terminal", "internal/waitid":
				if !strings.HasPrefix(path, "golang.org/x/sys/") {
					t.Errorf("%s imports %s: the init has the standard library and x/sys only", s.path, path)
				}
			}
			if strings.HasPrefix(path, "golang.org/x/sys/") || path == "github.com/hashicorp/go-hclog" {
				continue
			}
			home := ""
			for module, where := range homes() {
				if path == module || strings.HasPrefix(path, module+"/") {
					home = where
				}
			}
			if allowed := strings.Fields(home); !slices.Contains(allowed, s.dir) && !slices.Contains(allowed, s.path) {
				t.Errorf("%s imports %s, whose only importers are %q", s.path, path, allowed)
			}
		}
	}
}

func TestEveryDependencyIsExplained(t *testing.T) {
	explained, err := os.ReadFile("docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sources(t) {
		for _, path := range s.imports() {
			if !external(path) {
				continue
			}
			parts, length := strings.Split(path, "/"), 3
			if parts[0] == "k8s.io" {
				length = 2
			}
			module := strings.Join(parts[:min(length, len(parts))], "/")
			if !bytes.Contains(explained, []byte(module)) {
				t.Errorf("%s imports %s: docs/dependencies.md has no line for it", s.path, path)
			}
		}
	}
}

// calls finds the uses of names, given as "package.Name", in a file. A package
// goes by the last part of its path.
func (s source) calls(names ...string) []ast.Node {
	var out []ast.Node
	ast.Inspect(s.file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if pkg, ok := sel.X.(*ast.Ident); ok && slices.Contains(names, pkg.Name+"."+sel.Sel.Name) {
				out = append(out, n)
			}
		}
		return true
	})
	return out
}

func TestOnlyProcStartsProcesses(t *testing.T) {
	for _, s := range ours(sources(t)) {
		if s.dir == "bench" || s.dir == "internal/proc" || s.path == "internal/execshim/execshim.go" {
			continue
		}
		if slices.Contains(s.imports(), "os/exec") {
			t.Errorf("%s imports os/exec", s.path)
		}
		switch s.path {
		case "internal/spawn/spawn.go", "internal/headroom/clone_other.go":
			continue // the start of the supervisor, or of a command without one; the search for room
		}
		for _, n := range s.calls("os.StartProcess", "syscall.ForkExec", "syscall.StartProcess", "syscall.Exec", "unix.Exec",
			"syscall.SYS_CLONE", "unix.SYS_CLONE", "unix.SYS_CLONE3", "syscall.SYS_FORK", "unix.SYS_FORK", "syscall.SYS_EXECVE", "unix.SYS_EXECVE") {
			t.Errorf("%s starts a process", s.at(n))
		}
	}
}

// readers may open files in another way than package untrusted, with the reason.
func readers() map[string]string {
	const kernel = "files of the kernel, whose size no process chooses"
	return map[string]string{
		"bench":                           "it measures",
		"internal/cgroup":                 kernel + ", below a root that tests set",
		"internal/headroom":               kernel,
		"internal/memory":                 kernel,
		"internal/spawn":                  kernel,
		"internal/proc/cgroups.go":        kernel,
		"internal/proc/oom.go":            kernel,
		"internal/execshim/steps.go":      kernel,
		"internal/proc/upgrade.go":        kernel,
		"internal/procfs":                 kernel + ", or what is read of them is bounded",
		"internal/proc/stdio.go":          "/dev/null",
		"internal/listen/bind.go":         "the file of a socket, which is not followed and not read",
		"internal/program/program.go":     "the beginning of a program that was judged before",
		"internal/logs/log.go":            "a memfd of our own",
		"executor/output":                 "a folder of our own that no job can write to: not followed, and created",
		"executor/journal":                "a folder of our own that no job can write to",
		"executor/files.go":               "a folder of our own that no job can write to",
		"internal/console/recording":      "a folder that others cannot change: listed, not followed, and created in",
		"executor/workspace":              "below an os.Root, without blocking; the copy is created in a folder of our own",
		"internal/logfile/folder.go":      "the folder of a log and its files: not followed, compared with what is there",
		"jvm/archive/classpath.go":        "folders of the JVM, and of DIR/* in a class path, whose own order matters; nothing in them is read",
		"jvm/hotspot/attach.go":           kernel + "; .attach_pidN is created",
		"jvm/hotspot/agent.go":            kernel + "; the agent is created in /tmp",
		"jvm/hotspot/identify.go":         kernel + ", and bounded",
		"jvm/hotspot/find.go":             "it lists folders of the system",
		"jvm/tomcat/find.go":              "it lists /opt and /usr/local",
		"internal/trust":                  "it judges without reading; " + kernel,
		"internal/untrusted/untrusted.go": "it is the way",
		"cmd/stoker/job.go":               "what its user names",
		"internal/access/tokens.go":       "what the user of stoker console token names; a link is not followed",
		"internal/api/socket.go":          "/dev/shm is listed by a client",
		"hooks/plugin/folder.go":          "a folder is listed when nobody else can write to it",
		"internal/statefile":              "a folder, to sync it",
		"internal/daemon/candidate.go":    "/proc/self/exe",
		"jvm/training/folder.go":          "folders: not followed, to list and lock them",
		"jvm/tools/heapdump.go":           "a folder: not followed, its owner is checked",
		"supervisor/incident/evidence.go": kernel,
		"netinit/inplace/inplace.go":      "resolv.conf and hosts, or what the configuration names: regular, without blocking, written in place",
		"netinit/kernel/sysctl.go":        kernel,
		"netinit/kernel/record.go":        "a lock file in the state folder; a link is not followed",
	}
}

// TestUntrustedFilesAreOpenedByOneRule wants everything that others can write to be
// read by package untrusted. What is listed is not written by others.
func TestUntrustedFilesAreOpenedByOneRule(t *testing.T) {
	used := map[string]bool{}
	for _, s := range ours(sources(t)) {
		calls := s.calls("os.ReadFile", "os.Open", "os.OpenFile", "os.ReadDir", "os.OpenRoot", "os.OpenInRoot", "os.DirFS", "os.CopyFS",
			"ioutil.ReadFile", "ioutil.ReadDir", "filepath.Glob", "filepath.Walk", "filepath.WalkDir", "zip.OpenReader",
			"tls.LoadX509KeyPair", "unix.Open", "unix.Openat", "unix.Openat2", "syscall.Open", "syscall.Openat")
		for _, n := range calls {
			place := s.path
			if _, listed := readers()[s.dir]; listed {
				place = s.dir
			}
			if used[place] = true; readers()[place] == "" {
				t.Errorf("%s opens a file: use package untrusted, or say in readers why nobody else can write it", s.at(n))
			}
		}
	}
	for place := range readers() {
		if !used[place] {
			t.Errorf("%s opens nothing any more: it needs no exception", place)
		}
	}
}

// TestOnlyProcfsReadsProcesses wants the directory of a process, /proc/PID, to be named
// by package procfs alone. The own process, /proc/self, is not meant.
func TestOnlyProcfsReadsProcesses(t *testing.T) {
	allowed := map[string]string{
		"internal/pid1/procstat.go": "until it uses package procfs",
		"internal/logfile/file.go":  "a path that is refused for a log",
	}
	process := regexp.MustCompile(`^/proc/?$|/proc/(%|[0-9]|$)`)
	for _, s := range ours(sources(t)) {
		if s.dir == "bench" || s.dir == "internal/procfs" || allowed[s.path] != "" {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if text, ok := n.(*ast.BasicLit); ok && text.Kind == token.STRING && process.MatchString(strings.Trim(text.Value, "`\"")) {
				t.Errorf("%s names /proc/PID: use package procfs", s.at(n))
			}
			return true
		})
	}
}

func TestOnlyPid1Waits(t *testing.T) {
	for _, s := range ours(sources(t)) {
		if s.dir == "bench" || s.dir == "internal/waitid" {
			continue
		}
		for _, n := range s.calls("syscall.Wait4", "unix.Wait4", "unix.Waitid", "os.FindProcess",
			"syscall.SYS_WAIT4", "unix.SYS_WAIT4", "unix.SYS_WAITID") {
			t.Errorf("%s waits for a process, or could", s.at(n))
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	docs, names := map[string]string{}, map[string]string{}
	for _, s := range ours(sources(t)) {
		names[s.dir] = s.file.Name.Name
		docs[s.dir] += s.file.Doc.Text()
	}
	for dir, name := range names {
		begin := "Package " + name + " "
		if name == "main" {
			begin = "Command " + filepath.Base(dir) + " "
		}
		if !strings.HasPrefix(docs[dir], begin) {
			t.Errorf("%s has no doc comment that begins with %q, or more than one", dir, begin)
		}
		if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "types", "misc"}, name) {
			t.Errorf("%s: package %s is named for nothing that it does", dir, name)
		}
	}
}

func TestNoHiddenState(t *testing.T) {
	for _, s := range ours(sources(t)) {
		for _, decl := range s.file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Name.Name == "init" && d.Recv == nil {
					t.Errorf("%s: an init function", s.at(d))
				}
			case *ast.GenDecl:
				if d.Tok == token.VAR {
					s.checkVariables(t, d)
				}
			}
		}
	}
}

// checkVariables lets errors, embedded files, checks of an interface, read-only
// tables, compiled expressions and what is listed pass.
func (s source) checkVariables(t *testing.T, d *ast.GenDecl) {
	for _, spec := range d.Specs {
		v := spec.(*ast.ValueSpec)
		embedded := strings.Contains(d.Doc.Text()+v.Doc.Text(), "go:embed") || hasDirective(d.Doc) || hasDirective(v.Doc)
		for i, name := range v.Names {
			isError := strings.HasPrefix(strings.ToLower(name.Name), "err")
			constant := i < len(v.Values) && readOnly(v.Values[i]) && !assigned(t, s.dir)[name.Name]
			if _, listed := variables()[s.dir+"."+name.Name]; !embedded && !isError && !listed && !constant && name.Name != "_" {
				t.Errorf("%s: package variable %s", s.at(v), name.Name)
			}
		}
	}
}

// readOnly says whether a value is a table or a compiled expression.
func readOnly(value ast.Expr) bool {
	switch e := value.(type) {
	case *ast.CompositeLit:
		return true
	case *ast.CallExpr:
		sel, ok := e.Fun.(*ast.SelectorExpr)
		if !ok {
			return false
		}
		from, _ := sel.X.(*ast.Ident)
		return from != nil && slices.Contains([]string{"regexp.MustCompile", "strings.NewReplacer", "lazyregexp.New"}, from.Name+"."+sel.Sel.Name)
	}
	return false
}

// assigned are the names that a package's functions assign to, as a whole or in part.
func assigned(t *testing.T, dir string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	note := func(e ast.Expr) {
		for {
			switch x := e.(type) {
			case *ast.IndexExpr:
				e = x.X
				continue
			case *ast.SelectorExpr:
				e = x.X
				continue
			case *ast.Ident:
				out[x.Name] = true
			}
			return
		}
	}
	for _, s := range ours(sources(t)) {
		if s.dir != dir {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.AssignStmt:
				for _, left := range x.Lhs {
					if x.Tok != token.DEFINE {
						note(left)
					}
				}
			case *ast.IncDecStmt:
				note(x.X)
			}
			return true
		})
	}
	return out
}

// hasDirective says whether a comment holds go:embed, which Text leaves out.
func hasDirective(c *ast.CommentGroup) bool {
	return c != nil && slices.ContainsFunc(c.List, func(line *ast.Comment) bool { return strings.HasPrefix(line.Text, "//go:embed ") })
}

// Sizes above which a file or a function should have been two, in lines.
const (
	maxFile     = 450
	maxFunction = 70
)

func TestSizes(t *testing.T) {
	for _, s := range ours(sources(t)) {
		if n := s.fset.Position(s.file.FileEnd).Line; n > maxFile {
			t.Errorf("%s has %d lines, more than %d", s.path, n, maxFile)
		}
		for _, decl := range s.file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			n := s.fset.Position(f.End()).Line - s.fset.Position(f.Pos()).Line + 1
			if n > maxFunction {
				t.Errorf("%s: %s has %d lines, more than %d", s.at(f), f.Name.Name, n, maxFunction)
			}
		}
	}
}

// maxPackage is about how many lines a package has before it should be two.
const maxPackage = 3200

// longPackages are longer, with the reason.
func longPackages() map[string]string {
	return map[string]string{
		"jvm":        "pure sizing, merge and checks of options; a third is tables of what each version knows",
		"cmd/stoker": "one file for each group of commands; they share what prints and what asks, and little else",
		"jvm/launch": "one plan of a start that every file adds to: sources, check, sockets, archive, comparison with the running JVM",
		"supervisor": "one state machine: its table refers to every transition",
	}
}

func TestPackageSizes(t *testing.T) {
	lines := map[string]int{}
	for _, s := range ours(sources(t)) {
		lines[s.dir] += s.fset.Position(s.file.FileEnd).Line
	}
	for dir, n := range lines {
		if _, listed := longPackages()[dir]; n > maxPackage && !listed {
			t.Errorf("%s has %d lines, more than %d: it should be two packages", dir, n, maxPackage)
		} else if n <= maxPackage && listed {
			t.Errorf("%s has %d lines: it needs no exception", dir, n)
		}
	}
}

// maxMethods is the most that an interface may demand; a larger one is several roles.
const maxMethods = 5

func TestInterfacesAreSmall(t *testing.T) {
	for _, s := range ours(sources(t)) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if face, ok := spec.Type.(*ast.InterfaceType); ok && face.Methods.NumFields() > maxMethods {
				t.Errorf("%s: interface %s has %d methods, more than %d: split it by role", s.at(spec), spec.Name.Name,
					face.Methods.NumFields(), maxMethods)
			}
			return true
		})
	}
}

func TestNoSleep(t *testing.T) {
	for _, s := range sources(t) {
		if s.dir == "bench" || s.test && bubbles(s) {
			continue // a measurement's pauses; a synctest bubble's own time
		}
		if s.path == "internal/proc/proc_test.go" {
			continue // a supervisor that is played, and dies at another moment each time
		}
		for _, n := range s.calls("time.Sleep") {
			t.Errorf("%s sleeps", s.at(n))
		}
	}
}

// bubbles says whether a package's tests run in synctest bubbles. A helper for
// them may be in another file than the bubble.
func bubbles(s source) bool {
	matches, err := filepath.Glob(s.dir + "/*_test.go")
	if err != nil {
		return false
	}
	return slices.ContainsFunc(matches, func(path string) bool {
		data, err := os.ReadFile(path)
		return err == nil && bytes.Contains(data, []byte(`"testing/synctest"`))
	})
}

// TestSecurityNamesTests holds docs/reference/security.md to what the tests prove.
func TestSecurityNamesTests(t *testing.T) {
	text, err := os.ReadFile("docs/reference/security.md")
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, s := range sources(t) {
		for _, decl := range s.file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && s.test {
				there[f.Name.Name] = true
			}
		}
	}
	for _, path := range files(t) {
		there[filepath.Base(path)] = true
	}
	names := regexp.MustCompile(`\b(Test|Fuzz)[A-Z]\w*|\w+\.txtar`).FindAllString(string(text), -1)
	for _, name := range names {
		if !there[name] {
			t.Errorf("docs/reference/security.md names %s, which is not there", name)
		}
	}
	if len(names) < 50 {
		t.Errorf("docs/reference/security.md names %d tests", len(names))
	}
}

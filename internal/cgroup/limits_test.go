package cgroup

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"syscall"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the expected JSON in testdata")

// tree writes the files of an archive below a new folder. A layout makes a
// file unreadable, for root too, by giving its name to a folder.
func tree(t *testing.T, files []archiveFile) string {
	t.Helper()
	root := t.TempDir()
	for _, f := range files {
		if f.name == "want.json" {
			continue
		}
		path := filepath.Join(root, f.name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestLayouts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 60 {
		t.Fatalf("testdata holds %d layouts, err %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			ar := parseArchive(text)
			got, err := json.MarshalIndent(Read(tree(t, ar.files)), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			last := len(ar.files) - 1
			if ar.files[last].name != "want.json" {
				t.Fatal("want.json must be the last file")
			}
			if *update {
				ar.files[last].data = got
				if err := os.WriteFile(file, ar.format(), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if !bytes.Equal(got, ar.files[last].data) {
				t.Errorf("%s\ngot:\n%s\nwant:\n%s", ar.comment, got, ar.files[last].data)
			}
		})
	}
}

func TestNothingOutsideRootIsRead(t *testing.T) {
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "memory.max"), []byte("1048576\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	root := tree(t, []archiveFile{
		{name: "proc/1/mountinfo", data: []byte("30 29 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n31 29 0:27 / /../../../../../.." + outside +
			" rw - cgroup2 cgroup rw\n")},
		{name: "proc/1/cgroup", data: []byte("0::/../../../" + outside + "\n")},
		{name: "proc/meminfo", data: []byte("MemTotal: 4194304 kB\n")},
		{name: "sys/fs/cgroup/cgroup.controllers", data: []byte("cpu memory\n")},
	})
	for link, target := range map[string]string{
		"sys/fs/cgroup/memory.max": filepath.Join(outside, "memory.max"),
		"sys/fs/cgroup/cpu.max":    "/proc/self/status",
		"proc/self":                "/proc/self",
	} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	l := Read(root)
	if l.MemoryLimit != nil || l.EffectiveMemory == nil || *l.EffectiveMemory != 4<<30 {
		t.Errorf("limits follow a link out of the root: %+v", l)
	}
}

func TestLive(t *testing.T) {
	l := Read("/")
	if l.EffectiveCPUs < 1 || l.EffectiveMemory == nil || *l.EffectiveMemory <= 0 {
		t.Errorf("live limits make no sense: %+v", l)
	}
	if l.Sources.EffectiveCPUs == "" || l.Sources.EffectiveMemory == "" {
		t.Errorf("a number has no source: %+v", l.Sources)
	}
}

func TestFIFODoesNotHang(t *testing.T) {
	root := tree(t, []archiveFile{
		{name: "proc/self/mountinfo", data: []byte("30 29 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n")},
		{name: "proc/self/cgroup", data: []byte("0::/\n")},
		{name: "sys/fs/cgroup/cgroup.controllers", data: []byte("cpu\n")},
	})
	if err := syscall.Mkfifo(filepath.Join(root, "sys/fs/cgroup/cpu.max"), 0o600); err != nil {
		t.Skipf("cannot make a FIFO here: %v", err)
	}
	l := Read(root)
	if l.CPUQuota != nil || len(l.Warnings) == 0 || l.Warnings[0].Code != CPUUnreadable {
		t.Errorf("limits: %+v", l)
	}
}

func BenchmarkRead(b *testing.B) {
	for b.Loop() {
		Read("/")
	}
}

func TestMissingRoot(t *testing.T) {
	l := Read(filepath.Join(t.TempDir(), "absent"))
	if l.EffectiveCPUs != 1 || l.EffectiveMemory != nil || len(l.Warnings) != 1 {
		t.Errorf("limits of a missing root: %+v", l)
	}
}

// The keys are an interface of the command line.
func TestJSONKeys(t *testing.T) {
	b, err := json.Marshal(Read(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	want := []string{"cgroup_version", "cpu_quota_cores", "cpuset_count", "effective_cpus",
		"effective_memory_bytes", "memory_high_bytes", "memory_limit_bytes", "pids_limit", "sources", "warnings"}
	for _, k := range want {
		if _, ok := m[k]; !ok {
			t.Errorf("key %s is missing", k)
		}
	}
	if len(m) != len(want) {
		t.Errorf("keys: %v", m)
	}
}

func TestParseLimit(t *testing.T) {
	for _, tc := range []struct {
		text string
		n    int64
		ok   bool
		bad  bool
	}{
		{text: "1073741824", n: 1 << 30, ok: true},
		{text: "max"},
		{text: "-1"},
		{text: "9223372036854771712"},
		{text: "9223372036854759424"},
		{text: "9223372036854710272"},
		{text: "9223372036854775807"},
		{text: "18446744073709551615"},
		{text: "", bad: true},
		{text: "0", bad: true},
		{text: "12x", bad: true},
		{text: "-2", bad: true},
		{text: "99999999999999999999999", bad: true},
	} {
		n, ok, err := parseLimit(tc.text)
		if n != tc.n || ok != tc.ok || (err != nil) != tc.bad {
			t.Errorf("parseLimit(%q) = %d, %v, %v", tc.text, n, ok, err)
		}
	}
}

func TestParseMountinfo(t *testing.T) {
	mounts, bad := parseMountinfo("30 29 0:26 / /a\\040b rw,nosuid shared:4 master:1 - cgroup cg\\040roup rw,cpu,cpuacct\n" +
		"31 29 0:27 net:[4026531840] /run/ns rw - nsfs nsfs rw\n" +
		"32 29 0:26 /x /a\\040b rw - cgroup2 none rw\n" +
		"garbage\n")
	if m := mounts[0]; bad != 1 || m.Root != "/x" || m.Mountpoint != "/a b" || m.FSType != "cgroup2" || m.VFSOptions != "rw" {
		t.Errorf("got %+v, %d bad", mounts, bad)
	}
}

// The page names every code and every key, and no other.
func TestDocumentation(t *testing.T) {
	text, err := os.ReadFile("../../docs/reference/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{CPUUnreadable, CPUMalformed, MemoryUnreadable, MemoryMalformed, MemoryHighBelowMax, PathOutsideNamespace,
		CgroupNotVisible, PIDsUnreadable, PIDsMalformed}
	limits := reflect.TypeFor[Limits]()
	for i := range limits.NumField() {
		want = append(want, limits.Field(i).Tag.Get("json"))
	}
	var got []string
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*?) \\|").FindAllStringSubmatch(string(text), -1) {
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			got = append(got, m[1])
		}
	}
	slices.Sort(want)
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("docs/reference/limits.md has %q, want %q", got, want)
	}
}

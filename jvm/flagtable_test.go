package jvm

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// flagLists are the builds whose flags are in testdata, made by scripts/flags.sh. Those of buildsListed are what flagTable is made of; the others are there to be tried.
func flagLists(t *testing.T) map[string]map[string]FlagInfo {
	t.Helper()
	files, err := filepath.Glob("testdata/flags/*.txt")
	if err != nil || len(files) <= len(buildsListed) {
		t.Fatalf("%v, %q", err, files)
	}
	lists := map[string]map[string]FlagInfo{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		list := map[string]FlagInfo{}
		var of FlagInfo
		for line := range strings.Lines(string(text)) {
			if head, ok := strings.CutPrefix(strings.TrimSpace(line), "["); ok {
				of.Type, of.Kind, _ = strings.Cut(strings.TrimSuffix(head, "]"), " ")
				continue
			}
			for name := range strings.FieldsSeq(line) {
				list[name] = of
			}
		}
		lists[strings.TrimSuffix(filepath.Base(file), ".txt")] = list
	}
	return lists
}

// flagTable is made of the lists: `go test ./jvm -run TestFlagTable -update` after
// another build's list was added to testdata and to buildsListed.
func TestFlagTable(t *testing.T) {
	lists := flagLists(t)
	lines := map[string][]string{}
	all := map[string]bool{}
	for _, b := range buildsListed {
		for name := range lists[b.version] {
			all[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		var typ flagType
		kinds := ""
		for _, b := range buildsListed {
			f, ok := lists[b.version][name]
			if !ok {
				kinds += "-"
				continue
			}
			kinds += string("-pde"[f.kind()])
			typ = f.typ() // of the newest build
		}
		word := string(typ) + ":" + kinds
		last := len(lines[word]) - 1
		switch {
		case last < 0:
			lines[word] = []string{word}
			last++
		case len(lines[word][last])+1+len(name) > 138:
			lines[word] = append(lines[word], "")
			last++
		}
		lines[word][last] += " " + name
	}
	var b bytes.Buffer
	for _, word := range slices.Sorted(maps.Keys(lines)) {
		for _, line := range lines[word] {
			fmt.Fprintln(&b, line)
		}
	}
	golden(t, "../flagtable.txt", b.Bytes())
}

// The flags that a JVM prints decide; the table is used without them. The list of any update accepts all flags
// of that build.
func TestFlagsOfEachBuild(t *testing.T) {
	flags := newCatalog()
	for version, list := range flagLists(t) {
		for _, own := range []map[string]FlagInfo{list, nil} {
			c := &targetCheck{target: Target{JavaMajor: majorOf(version), JavaVersion: version, Flags: own}, major: majorOf(version), flags: flags}
			var sample []string
			for i, name := range slices.Sorted(maps.Keys(list)) {
				f, s := c.flagSupport(name)
				if s != supported && (own != nil || s != inOtherBuild) || unlockFlags[f.kind(c.major)] != unlockFlags[list[name].kind()] ||
					(f.typ == boolFlag) != (list[name].typ() == boolFlag) {
					t.Errorf("Java %s, list at hand %t: %s is %d, %+v", version, own != nil, name, s, f)
				}
				if i%40 == 0 {
					sample = append(sample, list[name].written(name))
				}
			}
			r, _ := Render(Input{Target: c.target, NoSizing: true, User: ParseArgs("u", sample)})
			for _, p := range slices.Concat(r.Warnings, r.Errors) {
				if VersionDependent(p.Code) {
					t.Errorf("Java %s, list at hand %t: %s", version, own != nil, p.Message)
				}
			}
		}
	}
}

// written is how the flag might be given.
func (f FlagInfo) written(name string) string {
	switch f.typ() {
	case boolFlag:
		return "-XX:+" + name
	case floatFlag:
		return "-XX:" + name + "=1.0"
	}
	return "-XX:" + name + "=1"
}

func majorOf(version string) int {
	major := 0
	_, _ = fmt.Sscanf(strings.TrimPrefix(version, "1."), "%d", &major)
	return major
}

// Flags that an update added or removed, that do not exist, or are misspelt: with a list of the JVM and without.
func TestUnlistedFlags(t *testing.T) {
	lists := flagLists(t)
	future := maps.Clone(lists["17.0.21.0.3"])
	future["UseNextYearsIntrinsics"] = FlagInfo{"bool", "diagnostic"}
	future["NextYearsSize"] = FlagInfo{"size_t", "C2 product"}
	delete(future, "UseSHA3Intrinsics")
	for _, c := range []struct {
		name   string
		major  int
		own    map[string]FlagInfo
		args   string
		argv   string // "": refused
		code   string // of the only problem
		says   string
		silent string // is in no message
	}{
		{"a security update's, on it", 17, lists["17.0.21.0.3"], "-XX:+UseKyberIntrinsics",
			"-XX:+UnlockDiagnosticVMOptions -XX:+UseKyberIntrinsics", "", "", ""},
		{"a security update's, before it", 17, lists["17.0.15"], "-XX:+UseKyberIntrinsics", "", UnknownOption,
			"the JVM at hand, 17.0.x, does not have it", "no such flag"},
		{"a security update's, without a JVM", 17, nil, "-XX:+UseDilithiumIntrinsics",
			"-XX:+UnlockDiagnosticVMOptions -XX:+UseDilithiumIntrinsics", "", "", ""},
		{"of a later update", 17, future, "-XX:-UseNextYearsIntrinsics -XX:NextYearsSize=5m",
			"-XX:+UnlockDiagnosticVMOptions -XX:-UseNextYearsIntrinsics -XX:NextYearsSize=5m", "", "", ""},
		{"of a later update, misspelt", 17, future, "-XX:+UseNextYearIntrinsics", "", UnknownOption, "did you mean UseNextYearsIntrinsics?", ""},
		{"of a later update, misused", 17, future, "-XX:NextYearsSize=-5", "", BadValue, "negative", ""},
		{"gone with an update", 17, future, "-XX:+UseSHA3Intrinsics", "", UnknownOption, "does not have it", ""},
		{"of a later update, without a JVM", 17, nil, "-XX:+UseNextYearsIntrinsics", "", UnknownOption, "17.0.21.0.3", ""},
		{"what only a newer version lists", 17, nil, "-XX:+UseCompactObjectHeaders", "-XX:+UseCompactObjectHeaders", UnknownOption,
			"the list of Java 17.0.21.0.3 does not have it, that of 25.0.5.0.3 does", ""},
		{"a newer version's, and the JVM denies it", 17, lists["17.0.21.0.3"], "-XX:+UseCompactObjectHeaders", "", UnknownOption,
			"only another build or version", ""},
		{"misspelt", 17, nil, "-XX:+UseG1Gc", "", UnknownOption, "did you mean UseG1GC?", ""},
		{"misspelt, with a JVM", 21, lists["21.0.13.0.3"], "-XX:+UseStringDeduplicaton", "", UnknownOption, "did you mean UseStringDeduplication?",
			""},
		{"misspelt, of a version without a list", 23, nil, "-XX:+UseG1Gc", "", UnknownOption, "did you mean UseG1GC?", ""},
		{"unheard of, of a version without a list", 29, nil, "-XX:+UseWhatTwentyNineHas", "-XX:+UseWhatTwentyNineHas", UnknownOption,
			"there is none of a released Java 29", ""},
		{"unheard of, of a version before its release", 28, nil, "-XX:+UseWhatTwentyNineHas", "-XX:+UseWhatTwentyNineHas", UnknownOption,
			"there is none of a released Java 28", ""},
		{"unheard of", 27, nil, "-XX:+UseWhatTwentyNineHas", "", UnknownOption, "by the list of 27.0.1.0.3", ""},
		{"removed, on a JVM", 17, lists["17.0.15"], "-XX:+UseConcMarkSweepGC", "", RemovedOption, "removed by 15", ""},
		{"removed, by the lists", 21, nil, "-XX:+UseRTMLocking", "-XX:+UseRTMLocking", "", "", ""},
		{"removed, by the lists alone", 25, nil, "-XX:+UseRTMLocking", "", RemovedOption, "removed by 25", ""},
		{"tolerated and not listed", 17, lists["17.0.15"], "-XX:SuspendRetryCount=5", "-XX:SuspendRetryCount=5", Deprecated, "does nothing", ""},
		{"another name, not listed", 17, lists["17.0.15"], "-XX:+CreateMinidumpOnCrash", "-XX:+CreateMinidumpOnCrash", Deprecated, "", ""},
		{"a JVM without a version", 0, future, "-XX:+UseNextYearsIntrinsics", "-XX:+UnlockDiagnosticVMOptions -XX:+UseNextYearsIntrinsics", "",
			"", ""},
		{"a JVM without a version denies it", 0, future, "-XX:+UseNothing", "", UnknownOption, "the JVM at hand", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			version := "17.0.x"
			r, _ := Render(Input{Target: Target{JavaMajor: c.major, JavaVersion: version, Flags: c.own}, NoSizing: true,
				User: ParseArgs("u", strings.Fields(c.args))})
			if got := strings.Join(r.Argv(), " "); got != c.argv {
				t.Errorf("got %q, want %q", got, c.argv)
			}
			problems := slices.Concat(r.Warnings, r.Errors)
			if len(problems) > 1 || (len(problems) == 1) != (c.code != "") {
				t.Fatalf("%q", problems)
			}
			for _, p := range problems {
				if p.Code != c.code || !strings.Contains(p.Message, c.says) || c.silent != "" && strings.Contains(p.Message, c.silent) {
					t.Errorf("%s: %s", p.Code, p.Message)
				}
			}
		})
	}
}

package jvm

import "strings"

// optionForm is how an option is told from others.
type optionForm byte

const (
	exact     optionForm = iota // the whole argument
	prefix                      // what the argument begins with; a value follows at once
	separated                   // then comes "=value", or the value as another argument
)

// knownOption is an option of the launcher or the JVM that is no -XX flag.
type knownOption struct {
	form optionForm
	change
}

// knownOptions are those of Java 8 to 25, tried on 17 and 25; for the others as
// the launcher's help and the release notes say.
func knownOptions() []knownOption {
	return []knownOption{
		{exact, change{names: "-noverify -Xverify:none", deprecated: 13}},
		{exact, change{names: "-Xint -Xmixed -Xcomp -Xbatch -Xnoclassgc -Xrs -Xdiag -Xcheck:jni -XshowSettings -Xverify -Xlog " +
			"-showversion -server -client -verbose -ea -enableassertions -da -disableassertions -esa -enablesystemassertions -dsa -disablesystemassertions"}},
		{prefix, change{names: "-Xmx -Xms -Xmn -Xss -Xmaxjitcodesize -Xmaxf -Xminf -Xshare: -Xverify: -XshowSettings: -XX: -D " +
			"-verbose: -ea: -enableassertions: -da: -disableassertions: -agentlib: -agentpath: -javaagent: -splash: -Xrun -Xbootclasspath/a:"}},
		{separated, change{names: "-cp -classpath"}},
		{prefix, change{names: "-Xloggc:", deprecated: 9, instead: "use -Xlog:gc:FILE instead"}},
		{prefix, change{names: "-Xlog:", since: 9}},
		{exact, change{names: "-Xdebug", deprecated: 22}},
		{exact, change{names: "-debug -verbosegc -noclassgc -verify -verifyremote", deprecated: 24, instead: "use the form with -X or a colon instead"}},
		{prefix, change{names: "-mx -ms -ss", deprecated: 24, instead: "use the form with -X instead"}},
		{exact, change{names: "-Xnoagent", gone: 25}},
		{exact, change{names: "-Xfuture", deprecated: 13, gone: 25}},
		{exact, change{names: "-Xprof", ignored: 10, instead: "use a profiler such as Flight Recorder"}},
		{exact, change{names: "-Xincgc -Xconcgc", gone: 10, instead: "use -XX:+UseG1GC instead"}},
		{exact, change{names: "-Xusealtsigs -Xsqnopause -d32 -d64", gone: 10}},
		{prefix, change{names: "-Xoss -Xbootclasspath/p: -Xbootclasspath:", gone: 9, instead: "use --patch-module or -Xbootclasspath/a: instead"}},
		{exact, change{names: "--show-version --show-module-resolution --disable-@files", since: 9}},
		{exact, change{names: "--enable-preview", since: 11}},
		{separated, change{names: "--class-path --module-path -p --upgrade-module-path --add-modules --limit-modules " +
			"--add-opens --add-exports --add-reads --patch-module", since: 9}},
		{separated, change{names: "--illegal-access", since: 9, deprecated: 16, ignored: 17, instead: "use --add-opens instead"}},
		{separated, change{names: "--enable-native-access", since: 16}},
		{separated, change{names: "--finalization", since: 18}},
		{separated, change{names: "--sun-misc-unsafe-memory-access", since: 23}},
		{separated, change{names: "--illegal-native-access", since: 24}},
	}
}

// propertyChanges are system properties that a version refuses.
func propertyChanges() []change {
	return []change{
		{names: "java.ext.dirs", gone: 9, instead: "put the jars on the class path"},
		{names: "java.endorsed.dirs", gone: 9, instead: "use --upgrade-module-path instead"},
		{names: "java.security.manager", deprecated: 17, gone: 24, instead: "the Security Manager is disabled for good (JEP 486)"},
	}
}

// matches reports whether the form of one name fits an argument.
func (f optionForm) matches(name, arg string) bool {
	rest, ok := strings.CutPrefix(arg, name)
	switch f {
	case prefix:
		return ok
	case separated:
		// The short forms know no "=".
		return ok && (rest == "" || rest[0] == '=' && strings.HasPrefix(name, "--"))
	}
	return ok && rest == ""
}

// findOption looks an argument up that is no -XX flag; ok is false for one that
// no version has.
func findOption(arg string) (change, bool) {
	for _, known := range knownOptions() {
		for name := range strings.FieldsSeq(known.names) {
			if known.form.matches(name, arg) {
				return known.change, true
			}
		}
	}
	return change{}, false
}

// nearestOption is the known option that differs least from an argument's name.
func nearestOption(arg string) string {
	given, _, _ := strings.Cut(arg, "=")
	best, least := "", max(1, len(given)/4)+1
	for _, known := range knownOptions() {
		for name := range strings.FieldsSeq(known.names) {
			if d := distance(given, name); d < least && name != given {
				best, least = name, d
			}
		}
	}
	return best
}

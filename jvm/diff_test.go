package jvm

import (
	"strings"
	"testing"
)

func TestDiff(t *testing.T) {
	for _, tc := range []struct{ name, before, after, want string }{
		{"same", "java -Xmx1g Main", "java -Xmx1g Main", ""},
		{"another value", "java -Xmx1g -Da=b Main", "java -Xmx2g -Da=b Main", "-Xmx2g instead of -Xmx1g"},
		{"another spelling", "java -Xmx1g Main", "java -XX:MaxRAMPercentage=50 Main", "-XX:MaxRAMPercentage=50 instead of -Xmx1g"},
		{"new and gone", "java -Da=b Main", "java -Dc=d Main", "-Dc=d is new|-Da=b is gone"},
		{"twice", "java -Xlog:gc Main", "java -Xlog:gc -Xlog:gc Main", "-Xlog:gc is new"},
		{"order", "java -Xlog:gc -Xlog:disable Main", "java -Xlog:disable -Xlog:gc Main", "the order of the options"},
		{"several", "java -Xms1g -Xmx1g -Da=b -Dc=d Main", "java -Xms2g -Xmx2g Main",
			"-Xmx2g instead of -Xmx1g|-Xms2g instead of -Xms1g|-Dc=d is gone|-Da=b is gone"},
		{"collector", "-XX:+UseG1GC", "-XX:+UseSerialGC", "-XX:+UseSerialGC instead of -XX:+UseG1GC"},
	} {
		if got := strings.Join(Diff(strings.Fields(tc.before), strings.Fields(tc.after)), "|"); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

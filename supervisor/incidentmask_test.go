package supervisor

import (
	"slices"
	"strings"
	"testing"
)

func TestMaskArgs(t *testing.T) {
	for _, c := range []struct{ in, want []string }{
		{[]string{"java", "-Xmx1g", "-Dapp.name=x", "-jar", "a.jar"}, []string{"java", "-Xmx1g", "-Dapp.name=x", "-jar", "a.jar"}},
		{[]string{"-Ddb.password=a b;c,d", "-Djavax.net.ssl.keyStorePassword=x", "--api-token=y", "AWS_SECRET_ACCESS_KEY=z"},
			[]string{"-Ddb.password=***", "-Djavax.net.ssl.keyStorePassword=***", "--api-token=***", "AWS_SECRET_ACCESS_KEY=***"}},
		{[]string{"--password", "x", "--token", "--next", "-p", "y"}, []string{"--password", "***", "--token", "--next", "-p", "y"}},
		{[]string{"-Durl=jdbc:mysql://db/x?user=u&password=geheim&ssl=1"}, []string{"-Durl=jdbc:mysql://db/x?user=u&password=***&ssl=1"}},
		{[]string{"-javaagent:/a.jar=apiKey=abc,server=s"}, []string{"-javaagent:/a.jar=apiKey=***,server=s"}},
		{[]string{"http://me:se:c@ret@host/p?x=1", "http://me@host/", "a://b:c@d,e://f:g@h"},
			[]string{"http://me:***@host/p?x=1", "http://me@host/", "a://b:***@d,e://f:***@h"}},
		{[]string{"", "=", "==", "password=", "://", "-"}, []string{"", "=", "==", "password=***", "://", "-"}},
	} {
		before := slices.Clone(c.in)
		if got := MaskArgs(c.in); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
		if !slices.Equal(before, c.in) {
			t.Errorf("%q was changed to %q", before, c.in)
		}
	}
	if got, want := MaskLine("jvm_args: -Dmy.password=geheim -Xmx32m --token x"), "jvm_args: -Dmy.password=*** -Xmx32m --token ***"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func FuzzMaskArgs(f *testing.F) {
	f.Add("-Dpassword", "secret-value")
	f.Add("--url", "jdbc://u:p@h?password=1")
	f.Fuzz(func(t *testing.T, name, value string) {
		MaskArgs([]string{name, value, name + "=" + value})
		if got := MaskArgs([]string{"-Dmy.password=" + value}); got[0] != "-Dmy.password=***" {
			t.Errorf("%q", got)
		}
		if line := MaskLine("a -Dpassword=" + strings.ReplaceAll(value, " ", "")); strings.Contains(line, "=") && !strings.HasSuffix(line, "=***") {
			t.Errorf("%q", line)
		}
	})
}

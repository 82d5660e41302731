package jvm

import (
	"slices"
	"testing"
)

func TestJoined(t *testing.T) {
	for arg, want := range map[string][]string{
		"-Xmx400m -Xms400m": {"-Xmx400m", "-Xms400m"},
		"-server -Xmx1g":    {"-server", "-Xmx1g"},
		"-XX:+UseG1GC  -XX:MaxGCPauseMillis=200 -ea": {"-XX:+UseG1GC", "-XX:MaxGCPauseMillis=200", "-ea"},
		"-Da=1 -Db=2":      {"-Da=1", "-Db=2"},
		`-Da="1 2" -Xmx1g`: {"-Da=1 2", "-Xmx1g"},
		"-cp a:b -Xmx1g":   {"-cp", "a:b", "-Xmx1g"},
		"--add-opens java.base/java.lang=ALL-UNNAMED":  {"--add-opens", "java.base/java.lang=ALL-UNNAMED"},
		"-javaagent:/a.jar=x --add-modules ALL-SYSTEM": {"-javaagent:/a.jar=x", "--add-modules", "ALL-SYSTEM"},
		"-Xmx1g":                            nil,
		"-Da=one two":                       nil,
		"-Da=one - two":                     nil,
		"-Da=one -v two":                    nil, // may be a value
		"-Dapp.options=-Dx=1 -Dy=2":         nil,
		`-Da="1 -Xmx1g"`:                    nil,
		"-XX:OnOutOfMemoryError=kill -9 %p": nil,
		"-XX:OnError=gdb - %p":              nil,
		"-javaagent:/a b.jar":               nil,
		"-Da='":                             nil,
		"":                                  nil,
	} {
		if got, ok := SplitJoined(arg); !slices.Equal(got, want) || ok != (want != nil) {
			t.Errorf("%q: %q, %v", arg, got, ok)
		}
	}
}

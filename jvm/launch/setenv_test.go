package launch

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/tomcat"
)

// The options of a variable that setenv.sh has extended keep their sources.
func TestSourcesOfExtendedVariable(t *testing.T) {
	old := service.Environment{Vars: map[string]string{"CATALINA_OPTS": "-Dold=1 -Dold=2", "_JAVA_OPTIONS": "-Dunder=1"},
		From: map[string]string{}}
	for now, want := range map[string]string{
		"-Dold=1 -Dold=2":         "env,env",
		"-Dold=1 -Dold=2 -Dnew=1": "env,env,bin",
		"-Dnew=1 -Dold=1 -Dold=2": "bin,env,env",
		"-Dold=2":                 "bin",
		"-Dold=1 -Dnew=1":         "bin,bin",
		"":                        "",
	} {
		env := service.Environment{Vars: map[string]string{"CATALINA_OPTS": now, "_JAVA_OPTIONS": "-Dunder=1 -Dunder=2"},
			From: map[string]string{"_JAVA_OPTIONS": "bin/setenv.sh"}}
		if now != old.Vars["CATALINA_OPTS"] {
			env.From["CATALINA_OPTS"] = "bin/setenv.sh"
		}
		l := &sources{shared: &Shared{Labels: noLabels}, serviceEnv: old, env: env,
			kind: kindVariables{names: []string{"CATALINA_OPTS"}}}
		in, err := l.input(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, o := range in.User {
			first, variable, _ := strings.Cut(o.Source, " ")
			if strings.HasSuffix(variable, "_JAVA_OPTIONS") || strings.HasSuffix(variable, "_JAVA_OPTIONS)") {
				continue
			}
			got = append(got, strings.TrimSuffix(first, "/setenv.sh"))
		}
		if strings.Join(got, ",") != want {
			t.Errorf("%q: %q, want %q", now, got, want)
		}
		if under := slices.IndexFunc(in.User, func(o jvm.Option) bool {
			return o.Source == "bin/setenv.sh (_JAVA_OPTIONS)" && o.String() == "-Dunder=2"
		}); under < 0 {
			t.Errorf("%q: a variable of the JVM has another source: %+v", now, in.User)
		}
	}
}

// The error shows the output of setenv.sh without control characters.
func TestSetenvErrorShowsItsOutput(t *testing.T) {
	for output, want := range map[string]string{
		"": "cannot import /b/bin/setenv.sh: it ended the shell; it wrote nothing\nhint: ",
		"one\n\x1b[2Jtwo\nthree\nsetenv.sh: 7: Syntax error\n": "it ended the shell; its output ends: ?[2Jtwo | three | setenv.sh: 7: Syntax error\nhint: ",
	} {
		err := setenvError(&tomcat.SetenvError{Err: errors.New("cannot import /b/bin/setenv.sh: it ended the shell"), Output: output})
		if !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "cannot import /b/bin/setenv.sh") {
			t.Errorf("%q: %q", output, err)
		}
	}
}

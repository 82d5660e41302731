package main

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/internal/cmdline"
	"github.com/stoker-init/stoker/internal/daemon"
	"github.com/stoker-init/stoker/internal/exit"
)

// testProgram is the command line, which runs nothing.
func testProgram() *cmdline.Program { return newApp(func(daemon.Options) error { return nil }) }

func TestFlagsStandAnywhere(t *testing.T) {
	for line, want := range map[string]string{
		"status tomcat -o json":               "status --output=json -- tomcat",
		"status -o json tomcat":               "status --output=json -- tomcat",
		"status --output=json":                "status --output=json --",
		"logs tomcat -n 5 -f":                 "logs --lines=5 --follow -- tomcat",
		"logs tomcat -fn5":                    "logs --follow --lines=5 -- tomcat",
		"logs -ft --since 10m tomcat":         "logs --follow --timestamps --since=10m -- tomcat",
		"logs -- -n":                          "logs -- -n",
		"logs -n 5 -- -n":                     "logs --lines=5 -- -n",
		"hook run ready -s web name":          "hook run --service=web -- ready name",
		"incidents 1 -o json":                 "incidents --output=json -- 1",
		"incidents show 1 -o json":            "incidents show --output=json -- 1",
		"jvm check a b --java-version 17":     "jvm check --java-version=17 -- a b",
		"jvm heapdump web /f --gz --force":    "jvm heapdump --gz --force -- web /f",
		"plugin enable x --set a=-b --set c":  "plugin enable --set=a=-b --set=c -- x",
		"plugin enable --no-restart x":        "plugin enable --no-restart -- x",
		"plugin init x --dir d":               "plugin init --dir=d -- x",
		"plugin run -o json x act -o y -- -z": "plugin run --output=json -- x act -o y -- -z",
		"plugin run x -o json act":            "plugin run --output=json -- x act",
		"upgrade /f --check":                  "upgrade --check -- /f",
		"config show --set a=b -c f":          "config show --set=a=b --config=f --",
		"run":                                 "run --",
		"run --":                              "run --",
		"run -c f sh -c x":                    "run --config=f -- sh -c x",
		"run -- sh --help":                    "run -- sh --help",
		"run sh --help -- y":                  "run -- sh --help -- y",
		"run --with-services -- -x -- y":      "run --with-services -- -x -- y",
		"job run -e A=b -- sh --help":         "job run --env=A=b -- sh --help",
		"job run --key k sh -f x":             "job run --key=k -- sh -f x",
		"job submit -f -":                     "job submit --file=- --",
		"job kill x --signal INT":             "job kill --signal=INT -- x",
		"-v":                                  "--version --",
		"logs -n=5 -":                         "logs --lines=5 -- -",
	} {
		inv, err := testProgram().Parse(append([]string{"stoker"}, strings.Fields(line)...))
		if err != nil || inv.Help {
			t.Errorf("%s: %v, help %v", line, err, inv.Help)
			continue
		}
		if got := strings.Join(inv.Words()[1:], " "); got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
}

func TestHelpIsFoundAnywhere(t *testing.T) {
	for line, want := range map[string]string{
		"help": "stoker", "--help": "stoker", "-h": "stoker", "help status": "stoker status", "status --help": "stoker status",
		"status tomcat -h": "stoker status",
		"jvm":              "stoker jvm", "jvm help": "stoker jvm", "jvm help explain": "stoker jvm explain",
		"help jvm explain": "stoker jvm explain",
		"run --help":       "stoker run", "run -c f --help": "stoker run", "incidents help": "stoker incidents", "--help logs": "stoker logs",
		"logs -fh": "stoker logs",
	} {
		inv, err := testProgram().Parse(append([]string{"stoker"}, strings.Fields(line)...))
		if err != nil || !inv.Help || inv.Name() != want {
			t.Errorf("%s: help %v for %s, %v; want that of %s", line, inv.Help, inv.Name(), err, want)
		}
	}
	// A service may have any name.
	for _, line := range []string{"status help", "logs help", "restart help"} {
		if inv, err := testProgram().Parse(append([]string{"stoker"}, strings.Fields(line)...)); err != nil || inv.Help {
			t.Errorf("%s is taken for help (%v)", line, err)
		}
	}
}

func TestWhatIsMeant(t *testing.T) {
	for line, want := range map[string]string{
		"staus":              "did you mean `stoker status`?",
		"ps":                 "did you mean `stoker status`?",
		"kill tomcat":        "did you mean `stoker signal`?",
		"threads":            "did you mean `stoker jvm threads`?",
		"jstack":             "did you mean `stoker jvm threads`?",
		"jvm explan":         "did you mean `stoker jvm explain`?",
		"plugin enabel x":    "did you mean `stoker plugin enable`?",
		"help staus":         "did you mean `stoker status`?",
		"xyzzy":              "stoker help lists them",
		"jvm xyzzy":          "stoker jvm --help lists them",
		"logs --tail 5":      "did you mean -n?",
		"logs --folow":       "did you mean --follow?",
		"logs -xf":           "stoker logs --help lists the flags",
		"status --json":      "did you mean -o json?",
		"events --tail=3":    "did you mean -n?",
		"run --file x":       "did you mean --config?",
		"run --confg x":      "did you mean --config?",
		"status --bogus":     "stoker status --help lists the flags",
		"-o json status":     "flags of a command stand behind its name; stoker --help lists the flags",
		"jvm -o json flags":  "flags of a command stand behind its name; stoker jvm --help lists the flags",
		"status -o":          "stoker status --help explains it",
		"completion -o json": "stoker completion --help lists the flags",
	} {
		_, err := testProgram().Parse(append([]string{"stoker"}, strings.Fields(line)...))
		var hint *exit.Error
		if !errors.As(err, &hint) || hint.Code != exit.Usage || hint.Hint != want {
			t.Errorf("%s: %v, %+v; want the hint %s", line, err, hint, want)
		}
	}
}

func FuzzArguments(f *testing.F) {
	for _, line := range []string{"logs tomcat -n 5 -f", "run -- sh -c x", "plugin run a b -c", "-", "--", "=", "-=", "logs -\xff",
		"help help"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words := strings.Split(line, " ")
		inv, err := testProgram().Parse(append([]string{"stoker"}, words...))
		if err != nil || inv.Help {
			return
		}
		// Read again it is the same: all flags are found.
		again, err := testProgram().Parse(inv.Words())
		if err != nil || !slices.Equal(again.Words(), inv.Words()) {
			t.Errorf("%q: %q, and read again %q, %v", line, inv.Words(), again.Words(), err)
		}
	})
}

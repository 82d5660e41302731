package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

func TestComplete(t *testing.T) {
	t.Setenv("STOKER_SOCKET", filepath.Join(t.TempDir(), "none.sock"))
	for line, want := range map[string]string{
		"sta":                   "status start",
		"jvm ":                  "threads histo heapdump flags nmt render check explain archive",
		"jvm ex":                "explain",
		"status -o ":            "table json",
		"status -o j":           "json",
		"status --output=":      "--output=table --output=json",
		"jvm render -o arg":     "argv argfile",
		"status --":             "--output --check --help",
		"logs -fn 5 --f":        "--follow",
		"logs --lines 5 --s":    "--since",
		"hook run net":          "network-ready network-drift",
		"hook list --service ":  "",
		"events --kind un":      "unhealthy",
		"signal web ":           "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS",
		"signal web US":         "USR1 USR2",
		"signal web HUP ":       "",
		"job lis":               "list",
		"job list --state R":    "RUNNING REJECTED",
		"job kill --signal US":  "USR1 USR2",
		"job run -- sh ":        ":files",
		"completion ":           "bash fish zsh",
		"config check -c ":      ":files",
		"config check ":         "",
		"run ":                  ":files",
		"run -- sh --":          ":files",
		"jvm check a b ":        ":files",
		"jvm heapdump web ":     ":files",
		"plugin validate ":      ":files",
		"xyzzy":                 "",
		"incidents ":            "show",
		"status web extra more": "",
		"status --bogus=":       "",
	} {
		words := strings.Split(line, " ")
		var got []string
		for _, c := range testProgram().Complete(context.Background(), words) {
			word, _, _ := strings.Cut(c, "\t")
			got = append(got, word)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", line, strings.Join(got, " "), want)
		}
	}
}

// TestShellsComplete types into real shells while a stoker runs.
func TestShellsComplete(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "api.sock")
	config := filepath.Join(dir, "stoker.yaml")
	if err := os.WriteFile(config, []byte("api: {socket: "+socket+
		"}\nservices:\n  web-one: {command: [sleep, '1000']}\n  worker: {command: [sleep, '1000']}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "STOKER_SOCKET="+socket, "XDG_STATE_HOME="+dir, "HOME="+dir, "TERM=dumb", "LC_ALL=C.UTF-8")
	init := command(t, "stoker", "run", "-c", config)
	init.Env = env
	if err := init.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = init.Process.Signal(os.Interrupt)
		_ = init.Wait()
	}()
	ready := command(t, "sh", "-c", "until stoker status | grep -q 'worker *RUNNING'; do :; done")
	ready.Env = env
	if err := ready.Run(); err != nil {
		t.Fatal(err)
	}
	cases := map[string]string{
		"stoker stat": "stoker status ", "stoker jvm exp": "stoker jvm explain ", "stoker status --out": "stoker status --output ",
		"stoker status -o j": "stoker status -o json ", "stoker restart wo": "stoker restart worker ",
		"stoker restart worker al": "stoker restart worker all ",
		"stoker logs -n 5 web":     "stoker logs -n 5 web-one ", "stoker hook run network-r": "stoker hook run network-ready ",
		"stoker events --service=wor": "stoker events --service=worker ", "stoker config check -c sto": "stoker config check -c stoker.yaml ",
	}
	start := map[string][]string{"bash": {"--norc", "--noprofile", "-i"}, "zsh": {"-f", "-i"}}
	for shell, load := range map[string]string{
		"bash": "source <(stoker completion bash)", "zsh": "bindkey -e; autoload -Uz compinit; compinit -u -D; source <(stoker completion zsh)",
	} {
		t.Run(shell, func(t *testing.T) {
			needs(t, shell)
			cmd := command(t, shell, start[shell]...)
			cmd.Env, cmd.Dir = append(slices.Clone(env), "PS1=> "), dir
			terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: 200, Rows: 40})
			if err != nil {
				t.Fatal(err)
			}
			s := screen{t: t, terminal: terminal, read: make(chan string)}
			go s.follow() // ends with the terminal
			defer func() {
				_ = cmd.Process.Kill()
				go func() { // ends with the terminal
					for range s.read {
					}
				}()
				_ = cmd.Wait()
				terminal.Close()
			}()
			s.write(load + "\rprintf '<%s>\\n' loaded\r")
			s.await("\n<loaded>")
			for typed, want := range cases {
				s.write(typed + "\t\x01printf '<%s>\\n' '\x05'\r")  // the line itself is printed
				s.await("\n<" + strings.TrimRight(want, " ") + ">") // zsh takes its blank back
			}
		})
	}
	t.Run("fish", func(t *testing.T) {
		needs(t, "fish")
		for typed, want := range cases {
			cmd := command(t, "fish", "--no-config", "-c", "stoker completion fish | source; complete -C $argv", typed)
			cmd.Env, cmd.Dir = env, dir
			out, err := cmd.CombinedOutput()
			words := strings.Fields(want)
			if got, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\t"); err != nil || got != words[len(words)-1] {
				t.Errorf("%s: %q, %v; want %s", typed, out, err, words[len(words)-1])
			}
		}
		for typed, want := range map[string]string{"stoker ": "run", "stoker status ": "worker", "stoker status -o ": "json",
			"stoker restart worker ": "web-one"} {
			cmd := command(t, "fish", "--no-config", "-c", "stoker completion fish | source; complete -C $argv", typed)
			cmd.Env, cmd.Dir = env, dir
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains("\n"+string(out), "\n"+want) {
				t.Errorf("%q: %q, %v; want %s among them", typed, out, err, want)
			}
		}
	})
}

// needs skips a test if a program is not installed.
func needs(t *testing.T, program string) {
	t.Helper()
	if ok, err := installed(t, program); err != nil {
		t.Fatal(err)
	} else if !ok {
		t.Skip(program, " is not installed")
	}
}

// screen is a shell at a terminal.
type screen struct {
	t        *testing.T
	terminal *os.File
	read     chan string
	seen     string
}

func (s *screen) follow() {
	defer close(s.read)
	buf := make([]byte, 4096)
	for {
		n, err := s.terminal.Read(buf)
		if n > 0 {
			s.read <- string(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

func (s *screen) write(text string) {
	if _, err := s.terminal.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
}

// await waits until a text is on the screen.
func (s *screen) await(want string) {
	s.t.Helper()
	limit := time.After(20 * time.Second)
	s.seen = ""
	for !strings.Contains(strings.ReplaceAll(s.seen, " >", ">"), want) {
		select {
		case text, ok := <-s.read:
			if !ok {
				s.t.Fatalf("the shell has ended: %q", s.seen)
			}
			s.seen += text
		case <-limit:
			s.t.Fatalf("%q is not on the screen: %q", want, s.seen)
		}
	}
}

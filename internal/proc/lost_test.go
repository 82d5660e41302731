package proc

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// cutFlood is how many lines are written while no supervisor reads: more than a pipe
// holds, so that the writer comes to the end of them only where the init discards.
const cutFlood = 400000

// cutScripts are supervisors that die within a line of their service, once before the
// init discards the rest of it, and once where nothing is lost.
func cutScripts() map[string]play {
	return map[string]play{
		"cut":        {opts: cutAt(""), play: playCut},
		"cut-merged": {opts: cutAt(""), play: playCut},
		"cut-ended":  {opts: cutAt("ended lines"), play: playCut},
		"cut-taking": {opts: cutAt("taking"), play: playCut},
	}
}

// cutAt lets no supervisor say hello before the init has discarded, and dies at a step of
// taking over what is left.
func cutAt(step string) func(*Options, string) {
	return func(o *Options, dir string) {
		if _, err := os.Stat(dir + "/begun"); err != nil {
			return // the first one
		}
		os.WriteFile(dir+"/rest", nil, 0o644)
		waitFile(dir + "/flooded")
		o.at = func(at string) {
			if _, err := os.Stat(dir + "/died"); at == step && err != nil {
				os.WriteFile(dir+"/died", nil, 0o644)
				die()
			}
		}
	}
}

func playCut(s *stage) int {
	await := func(name string) string { return "while [ ! -e " + s.dir + "/" + name + " ]; do sleep 0.01; done; " }
	s.output.Keep, s.merge = 8<<20, os.Args[1] == "cut-merged"
	// within lets a part of a line come into the log, and dies.
	within := func(mark, part string) {
		os.WriteFile(s.dir+"/"+mark, nil, 0o644)
		l, _ := s.m.Logs.Open("out", s.output)
		for !strings.HasSuffix(l.Text(), part) {
			unix.Poll(nil, 2)
		}
		s.m.Adopted()
		die()
	}
	if s.first() {
		s.sh("a", await("begun")+"printf beg; "+await("rest")+"echo in; yes flood | head -n "+strconv.Itoa(cutFlood)+"; echo >"+s.dir+
			"/flooded; "+
			await("half")+"printf af; "+await("end")+"echo ter; exit 3")
		within("begun", "beg")
	}
	if _, err := os.Stat(s.dir + "/half"); err != nil {
		within("half", "af")
	}
	os.WriteFile(s.dir+"/end", nil, 0o644)
	s.say("%d", status(s.process("a")))
	l, _ := s.m.Logs.Open("out", s.output)
	lines := strings.Split(strings.TrimSuffix(l.Text(), "\n"), "\n")
	for k := 1; k < len(lines)-1; k++ {
		if lines[k] != "flood" {
			s.say("line %d is %q", k, lines[k])
		}
	}
	whole := len(lines) - 1
	s.say("first %q, last %q", lines[0], lines[len(lines)-1])
	if st := l.Stats(); st.LostLines+uint64(whole) != cutFlood+2 {
		s.say("%d lines came whole and %d are counted", whole, st.LostLines)
	}
	return 0
}

// A line whose beginning is in the log and whose rest the init has discarded is not
// glued to the line behind the loss: it ends there, and is counted. It is ended once,
// whenever the supervisor dies, and a line of which nothing was lost is left whole.
func TestCutLineEndsBeforeTheLoss(t *testing.T) {
	for name := range cutScripts() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runPlay(t, name).want(t, "3", `first "beg", last "after"`)
		})
	}
}

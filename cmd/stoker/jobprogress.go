package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/stoker-init/stoker/executor"
)

// noticed is how long a wait is silent where there is no terminal, and the least time between two lines about it.
const noticed = 10 * time.Second

// jobProgress says on stderr what a job waits for: on a terminal in one line that is replaced, elsewhere in a line now and then.
type jobProgress struct {
	w    io.Writer // for lines
	done chan struct{}

	mu    sync.Mutex // guards what follows
	line  progressLine
	text  string    // empty: there is nothing to say
	since time.Time // of what text says
	shown bool      // on the terminal
	said  string    // the text of the latest line
	quiet time.Time // since when there was no line
}

// newJobProgress begins; the caller ends it with stop.
func newJobProgress(w io.Writer, line progressLine) *jobProgress {
	p := &jobProgress{w: w, line: line, done: make(chan struct{})}
	go func() { // ends with stop
		tick := time.NewTicker(shownTime)
		defer tick.Stop()
		for {
			select {
			case <-p.done:
				return
			case <-tick.C:
				p.show()
			}
		}
	}()
	return p
}

func progressOnStderr() *jobProgress { return newJobProgress(os.Stderr, newProgressLine()) }

// set says what is waited for from now on. It is shown when it has lasted a while.
func (p *jobProgress) set(j executor.Job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.text == "" {
		p.quiet = time.Now()
	}
	p.text, p.since = fmt.Sprintf("job %s is %s", j.ID, oneLine(string(j.State)))+optional(": ", oneLine(j.Waiting), ""), j.Accepted
	if j.Pid > 0 {
		p.since = j.Started
	}
}

func (p *jobProgress) show() {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.text == "":
	case p.line.terminal != nil:
		p.line.show(fmt.Sprintf("%s (%s)", p.text, max(time.Since(p.since), 0).Truncate(time.Second)))
		p.shown = true
	case p.text != p.said && time.Since(p.quiet) >= noticed:
		fmt.Fprintf(p.w, "stoker: %s\n", p.text)
		p.said, p.quiet = p.text, time.Now()
	}
}

// hide makes place for another line.
func (p *jobProgress) hide() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wipe()
}

// wipe is hide while mu is held.
func (p *jobProgress) wipe() {
	if p.shown {
		p.line.show("")
		p.shown = false
	}
}

// output makes place for the output of the job, whose last line may go on and must not be replaced.
func (p *jobProgress) output() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wipe()
	p.text, p.line = "", progressLine{}
}

func (p *jobProgress) stop() {
	close(p.done)
	p.output()
}

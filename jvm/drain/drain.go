// Package drain ends the requests of a running Tomcat, by an agent that it loads into the JVM: Drain.java says what that does. It does not
// stop Tomcat.
package drain

import (
	"archive/zip"
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/jvm/hotspot"
)

// files are what scripts/agent.sh has compiled, and only where it was run.
//
//go:embed class
var files embed.FS

// result is the system property in which the agent leaves what it had at the end.
const result = "stoker.requests"

// margin is the time between the agent's end and that of ctx, for its answer.
const margin = 100 * time.Millisecond

// Left is what a Tomcat had at the end.
type Left struct {
	Connectors  int // that were found; 0: it is no Tomcat, or has none
	Requests    int
	Connections int // those of the requests, and idle ones
}

// String describes it for the log.
func (l Left) String() string {
	switch {
	case l.Connectors == 0:
		return "it has no connectors"
	case l.Connections == 0:
		return "no connection is left"
	case l.Requests == 0:
		return "left: idle connections: " + strconv.Itoa(l.Connections)
	}
	return fmt.Sprintf("left: requests: %d, idle connections: %d", l.Requests, max(l.Connections-l.Requests, 0))
}

// End attaches to a Tomcat and ends its requests, until shortly before the deadline of ctx, which it must have. summary is for the log.
// It is an error if requests are left.
func End(ctx context.Context, attach func() (*hotspot.Attached, error)) (summary string, err error) {
	jar, err := agent()
	if err != nil {
		return "", err
	}
	at, err := attach()
	if err != nil {
		return "", err
	}
	left, err := end(ctx, at, jar)
	if err == nil && left.Requests > 0 {
		err = errors.New(left.String())
	}
	return left.String(), err
}

// end has Tomcat accept no more connections and close each one behind its next answer. It returns when none is left, when only idle ones
// have been left for a second, or shortly before the deadline of ctx, which it must have. jar is the agent.
func end(ctx context.Context, at *hotspot.Attached, jar []byte) (Left, error) {
	until, _ := ctx.Deadline()
	left := time.Until(until)
	left -= min(margin, left/4)
	if err := at.LoadAgent(ctx, jar, strconv.FormatInt(max(left.Milliseconds(), 0), 10)); err != nil {
		return Left{}, err
	}
	text, _, err := at.Property(ctx, result)
	if err != nil {
		return Left{}, err
	}
	return parse(text)
}

// parse reads the agent's result. It is not set where a security manager forbids it.
func parse(text string) (l Left, err error) {
	if n, _ := fmt.Sscanf(text, "%d %d %d", &l.Connectors, &l.Requests, &l.Connections); n == 3 {
		return l, nil
	}
	if why, failed := strings.CutPrefix(text, "failed "); failed {
		return Left{}, fmt.Errorf("cannot end the requests of Tomcat: its agent failed: %s", strings.ReplaceAll(why, `\`, ""))
	}
	return Left{}, errors.New("cannot end the requests of Tomcat: its agent left no result")
}

// agent returns the agent as a jar, whose bytes depend on nothing but the class.
func agent() ([]byte, error) {
	class, err := files.ReadFile("class/Drain.class")
	if err != nil {
		return nil, errors.New("this stoker was built without its Java agent (make build makes it where there is a javac)")
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range []struct {
		name string
		data []byte
	}{
		{"META-INF/MANIFEST.MF", []byte("Manifest-Version: 1.0\nAgent-Class: stoker.Drain\n")},
		{"stoker/Drain.class", class},
	} {
		w, _ := z.CreateHeader(&zip.FileHeader{Name: f.name, Method: zip.Store}) // only what it is written to may fail
		_, _ = w.Write(f.data)
	}
	_ = z.Close()
	return b.Bytes(), nil
}

package hotspot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Runner runs argv to its end and gives its exit code, by shell convention, and
// what it wrote to stdout and stderr.
type Runner func(ctx context.Context, argv []string) (code int, output string, err error)

// RefusedError says that the JVM would not start.
type RefusedError struct{ Refusal }

func (e *RefusedError) Error() string { return "the JVM refuses to start: " + e.Message }

// CheckTime bounds one check. A JVM needs 30 to 60 ms to print its flags.
const CheckTime = 10 * time.Second

// maxChecks is how many results a Checker remembers.
const maxChecks = 32

// Checker tries options on a JVM before something is started with them, and
// remembers what came of it, so that to ask again costs nothing. The zero value
// is ready. It may be used by several goroutines.
type Checker struct {
	mu    sync.Mutex // guards what follows
	known map[string]Flags
	order []string // the keys of known, the oldest first
}

// Check has the JVM start with the options, without side effects (Harmless), and
// gives its flags; they are not to be changed. A *RefusedError says that it does
// not start. Any other error says that the check itself did not work, which
// proves nothing. Only a result is remembered: what a file caused may be repaired
// with the same options. who is the user that run does it as.
func (c *Checker) Check(ctx context.Context, java, who string, options []string, run Runner) (Flags, error) {
	argv := append([]string{java}, Harmless(options)...)
	key, err := checkKey(java, who, argv)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	flags, ok := c.known[key]
	c.mu.Unlock()
	if ok {
		return flags, nil
	}
	ctx, cancel := context.WithTimeout(ctx, CheckTime)
	defer cancel()
	begun := time.Now()
	code, output, err := run(ctx, argv)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		took := time.Since(begun).Round(100 * time.Millisecond)
		return nil, fmt.Errorf("cannot try the JVM options: the JVM did not print its flags within %v%s", took, wrote(output))
	case err != nil:
		return nil, fmt.Errorf("cannot try the JVM options: %w", err)
	case code != 0:
		err := judge(code, output)
		var refused *RefusedError
		if errors.As(err, &refused) {
			refused.Option = given(options, refused.Option)
		}
		return nil, err
	}
	if flags = ParseFlags(output); len(flags) == 0 {
		return nil, errors.New("cannot try the JVM options: the JVM printed no flags; it is none of HotSpot's kind")
	}
	if startsSmall(options) { // what it said of these is ours
		delete(flags, "InitialHeapSize")
		delete(flags, "MinHeapSize")
	}
	c.remember(key, flags)
	return flags, nil
}

// wrote is the last line of an output, for an error.
func wrote(output string) string {
	output = strings.TrimSpace(output)
	if output == "" {
		return " and wrote nothing"
	}
	return fmt.Sprintf(" and wrote last: %.*q", maxWords, output[strings.LastIndexByte(output, '\n')+1:])
}

// Build has the JVM print every flag that it has, whatever unlocks it. As with Check it
// is asked once for each build: another one has a file of another size or time.
func (c *Checker) Build(ctx context.Context, java, who string, run Runner) (Flags, error) {
	return c.Check(ctx, java, who, []string{"-XX:+UnlockDiagnosticVMOptions", "-XX:+UnlockExperimentalVMOptions"}, run)
}

// checkKey is what a result depends on.
func checkKey(java, who string, argv []string) (string, error) {
	info, err := os.Stat(java)
	if err != nil {
		return "", fmt.Errorf("cannot try the JVM options: %w", err)
	}
	return fmt.Sprintf("%d %d %s\x00%s", info.Size(), info.ModTime().UnixNano(), who, strings.Join(argv, "\x00")), nil
}

func (c *Checker) remember(key string, flags Flags) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[string]Flags{}
	}
	if _, ok := c.known[key]; !ok {
		c.order = append(c.order, key)
	}
	c.known[key] = flags
	if len(c.order) > maxChecks {
		delete(c.known, c.order[0])
		c.order = c.order[1:]
	}
}

// judge tells a JVM that refuses its options from one that met with something
// else, such as a machine without memory or a KILL.
func judge(code int, output string) error {
	var r RefusalReader
	var last string
	for line := range strings.Lines(output) {
		line = strings.TrimRight(line, "\r\n")
		if line != "" {
			last = line
		}
		refusal, ok := r.Line(line)
		switch {
		case ok && lacksMemory(refusal.Message):
			return fmt.Errorf("cannot try the JVM options: %s", refusal.Message)
		case ok && code == 1:
			return &RefusedError{refusal}
		}
	}
	if code == 1 && strings.HasPrefix(last, "Error: ") { // the launcher's, as "-cp requires class path specification"
		return &RefusedError{Refusal{Message: last}}
	}
	return fmt.Errorf("cannot try the JVM options: the JVM ended with code %d: %s", code, clip(last))
}

// lacksMemory says whether the machine and not an option may be the reason.
func lacksMemory(message string) bool {
	return strings.Contains(message, "insufficient memory") || strings.Contains(message, "unable to create native thread") ||
		strings.Contains(message, "annot create VM thread")
}

// Harmless gives the arguments that try options without the side effects that
// some have even with -version: agents run, jdwp listens, management binds its
// port, log files are begun anew, the heap is touched (by ZGC all that it begins
// with). Classes that only the application's class path has are not asked for
// either, nor an archive that fits that path alone.
func Harmless(options []string) []string {
	out := make([]string, 0, len(options)+5)
	logs := false
	for _, o := range options {
		if hasEffects(o) {
			continue
		}
		if rest, ok := strings.CutPrefix(o, "-Xlog:"); ok {
			logs = true
			o = logToStderr(o, rest)
		}
		out = append(out, o)
	}
	if logs { // they were looked at; what they would print is of no interest
		out = append(out, "-Xlog:disable", "-Xlog:all=warning:stderr")
	}
	if startsSmall(options) {
		out = append(out, "-Xms8m")
	}
	return append(out, "-XX:-UsePerfData", "-XX:+PrintFlagsFinal", "-version")
}

// startsSmall says whether the trial begins with a smaller heap: ZGC takes all of it
// from the machine at once, and a second time beside what runs.
func startsSmall(options []string) bool { return slices.Contains(options, "-XX:+UseZGC") }

// given is the option as it was given, of which the JVM has quoted what Harmless
// made of it.
func given(options []string, quoted string) string {
	for _, o := range options {
		if rest, ok := strings.CutPrefix(o, "-Xlog:"); ok && logToStderr(o, rest) == quoted {
			return o
		}
	}
	return quoted
}

// hasEffects says whether an option does more than to set something.
func hasEffects(option string) bool {
	for _, prefix := range []string{
		"-javaagent:", "-agentlib:", "-agentpath:", "-Xrun", "-Dcom.sun.management", "-Xloggc:",
		"-XX:StartFlightRecording", "-XX:LogFile=", "-XX:ArchiveClassesAtExit=", "-XX:AOTCacheOutput=", "-XX:AOTMode=", "-XX:AOTConfiguration=",
		"-XX:CRaC", "-Xshare:on", "-XX:SharedArchiveFile=", "-Djava.system.class.loader=", "-Djava.nio.file.spi.DefaultFileSystemProvider=",
	} {
		if strings.HasPrefix(option, prefix) {
			return true
		}
	}
	switch option {
	case "-XX:+AlwaysPreTouch", "-XX:+ManagementServer", "-XX:+StartAttachListener", "-XX:+PauseAtStartup", "-XX:+FlightRecorder",
		"-XX:+RequireSharedSpaces", "-XX:+LogVMOutput", "-XX:+LogCompilation", "-XX:+AutoCreateSharedArchive":
		return true
	}
	manager, ok := strings.CutPrefix(option, "-Djava.security.manager=")
	return ok && manager != "" && manager != "allow" && manager != "disallow" && manager != "default"
}

// logToStderr turns a log file, which would be begun anew, into stderr: of
// -Xlog:WHAT:OUTPUT:DECORATORS:OPTIONS only WHAT is left then.
func logToStderr(option, rest string) string {
	what, output, _ := strings.Cut(rest, ":")
	if output == "" || strings.HasPrefix(output, ":") || strings.HasPrefix(output, "stdout") || strings.HasPrefix(output, "stderr") {
		return option
	}
	if what == "" {
		what = "all"
	}
	return "-Xlog:" + what + ":stderr"
}

package hotspot

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net"
	"strconv"
	"strings"

	"github.com/stoker-init/stoker/internal/lazyregexp"
	"golang.org/x/sys/unix"
)

// MaxReply bounds an answer that is passed on as it comes, in bytes; a thread dump of
// 10 000 threads has less.
const MaxReply = 64 << 20

// maxKept bounds an answer that is kept, in bytes: all flags have less than a tenth.
const maxKept = 1 << 20

// ErrLongReply ends an answer that is longer than its bound.
var ErrLongReply = errors.New("the rest is left out: the JVM answers with more than")

// StatusError is the answer of a JVM that did not execute a command.
type StatusError struct {
	Status int
	Text   string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("it answered status %d: %s", e.Status, e.Text)
}

// Bounds of a request of version 1: the number of its arguments, always, and the bytes of one.
const (
	maxArguments = 3
	maxArgument  = 1024
)

// Open sends a command of the attach protocol, such as "jcmd" with "VM.flags -all", and
// returns the answer as a stream once the JVM has accepted it. The JVM runs one command at a
// time and blocks on a slow reader. The caller closes the answer; the end of ctx, which must
// have a deadline, ends it too.
func (a *Attached) Open(ctx context.Context, most int, name string, args ...string) (io.ReadCloser, error) {
	fail := func(err error) (io.ReadCloser, error) {
		return nil, fmt.Errorf("cannot have JVM %d run %s: %w", a.target.Pid, strings.Join(append([]string{name}, args...), " "), err)
	}
	if len(args) > maxArguments {
		return fail(fmt.Errorf("more than %d arguments", maxArguments))
	}
	for _, arg := range args {
		if len(arg) > maxArgument || strings.ContainsRune(arg, 0) {
			return fail(fmt.Errorf("an argument is longer than %d bytes, or has a zero byte", maxArgument))
		}
	}
	words := append([]string{"1", name}, args...) // the version first
	request := strings.Join(words, "\x00") + strings.Repeat("\x00", 1+maxArguments-len(args))
	asPeer := a.asPeer.Load()
	r, err := a.send(ctx, most, request)
	if errors.Is(err, errClosed) && !asPeer && !a.as.IsOwn() {
		a.asPeer.Store(true)
		r, err = a.send(ctx, most, request)
	}
	if err != nil {
		return fail(err)
	}
	return r, nil
}

// send sends a request and reads the status of the answer.
func (a *Attached) send(ctx context.Context, most int, request string) (*reply, error) {
	conn, err := a.dial(ctx)
	if err != nil {
		return nil, err
	}
	r := &reply{conn: conn, ctx: ctx, left: most, most: most}
	r.stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
	if _, err = conn.Write([]byte(request)); err == nil {
		r.text = bufio.NewReader(conn)
		err = readStatusLine(r.text)
	}
	if err == nil {
		return r, nil
	}
	_ = r.Close()
	if errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) { // depends on how far the request was by then
		err = errClosed
	}
	return nil, contextError(ctx, err)
}

// errClosed is returned where the JVM closes the connection without an answer: it is older than 11 and runs as another user
// or group than the peer, or it ends.
var errClosed = fmt.Errorf("it closed the connection: %w", fs.ErrPermission)

// Command is Open for a short answer. With ErrLongReply it returns the beginning.
func (a *Attached) Command(ctx context.Context, name string, args ...string) (string, error) {
	r, err := a.Open(ctx, maxKept, name, args...)
	if err != nil {
		return "", err
	}
	defer func() { _ = r.Close() }()
	text, err := io.ReadAll(r)
	if err != nil {
		err = fmt.Errorf("cannot read what JVM %d answers to %s: %w", a.target.Pid, name, err)
	}
	return string(text), err
}

// reply is an answer while it is read.
type reply struct {
	conn *net.UnixConn
	ctx  context.Context //nolint:containedctx // it lives as long as the answer
	stop func() bool
	text *bufio.Reader
	left int // bytes
	most int
}

// Read reads the answer's text.
func (r *reply) Read(b []byte) (int, error) {
	if r.left == 0 {
		if _, err := r.text.Peek(1); err != nil {
			return 0, contextError(r.ctx, err)
		}
		return 0, fmt.Errorf("%w %d MiB", ErrLongReply, r.most>>20)
	}
	n, err := r.text.Read(b[:min(len(b), r.left)])
	r.left -= n
	if err != nil && err != io.EOF {
		err = contextError(r.ctx, err)
	}
	return n, err
}

// Close ends the answer.
func (r *reply) Close() error {
	r.stop()
	return r.conn.Close()
}

// contextError returns the error of ctx in place of err, if ctx is done.
func contextError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// maxStatusLine bounds what is quoted of the first line of an answer.
const maxStatusLine = 100

// readStatusLine reads the line "STATUS" before the text; with a status that is
// not 0 the text says why.
func readStatusLine(r *bufio.Reader) error {
	line, err := r.ReadSlice('\n')
	status, numErr := strconv.Atoi(strings.TrimSpace(string(line)))
	switch {
	case err == io.EOF && len(line) == 0:
		return errClosed
	case err == io.EOF, err == bufio.ErrBufferFull, err == nil && numErr != nil:
		return fmt.Errorf("it answered %q", line[:min(len(line), maxStatusLine)])
	case err != nil || status == 0:
		return err
	}
	text, err := io.ReadAll(io.LimitReader(r, 4*maxText))
	if err != nil {
		return err
	}
	return &StatusError{status, clip(strings.TrimSpace(string(text)))}
}

var usedText = lazyregexp.New(`\bused (\d{1,12})([BKMGT])\b|\b(\d{1,12})([BKMGT]) used\b`)

// UsedHeap returns the used bytes of the heap from the answer to GC.heap_info. Collectors
// differ: "used 1193K" for each generation, or "1536K used". False: it is not there.
func UsedHeap(info string) (bytes int64, ok bool) {
	for line := range strings.Lines(info) {
		if strings.HasPrefix(strings.TrimSpace(line), "Metaspace") { // what follows is not the heap
			break
		}
		for _, m := range usedText().FindAllStringSubmatch(line, -1) {
			unit := 10 * strings.Index("BKMGT", m[2]+m[4])
			n, err := strconv.ParseInt(m[1]+m[3], 10, 64)
			if err != nil || n > (math.MaxInt64-bytes)>>unit {
				continue
			}
			bytes, ok = bytes+n<<unit, true
		}
	}
	return bytes, ok
}

// DumpedTo reads the answer to a heap dump request, whose status is 0 also when it failed.
func DumpedTo(answer string) (why string, ok bool) {
	last := ""
	for line := range strings.Lines(answer) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "Dumping heap to ") {
			continue
		}
		if strings.HasPrefix(line, "Heap dump file created") {
			return "", true
		}
		last = line
	}
	return clip(cmp.Or(last, "the JVM gives no reason")), false
}

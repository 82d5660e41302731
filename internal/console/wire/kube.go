package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/gorilla/websocket"
	"github.com/stoker-init/stoker/internal/console"
)

// Channels of v4.channel.k8s.io and v5.channel.k8s.io: the first byte of each message.
const (
	stdinChannel  = 0
	stdoutChannel = console.Stdout
	stderrChannel = console.Stderr
	errorChannel  = 3
	resizeChannel = 4
	closeChannel  = 255 // v5 only
)

// kube speaks v4.channel.k8s.io and v5.channel.k8s.io.
type kube struct {
	*conn
	request
	halfClose bool // v5
	info      func() console.Info
}

// begin sends an empty message on the first channel that the client reads, as a kubelet does: the connection is open.
func (k *kube) begin() error {
	switch {
	case k.stdout:
		return k.write(websocket.BinaryMessage, false, []byte{stdoutChannel}, nil)
	case k.stderr:
		return k.write(websocket.BinaryMessage, false, []byte{stderrChannel}, nil)
	}
	return k.write(websocket.BinaryMessage, false, []byte{errorChannel}, nil)
}

func (k *kube) send(c console.Chunk) error {
	if c.Stream == console.Stdout && !k.stdout || c.Stream == console.Stderr && !k.stderr {
		return nil
	}
	return k.write(websocket.BinaryMessage, false, []byte{byte(c.Stream)}, c.Data)
}

func (k *kube) notify(console.Notice) error { return nil }

func (k *kube) receive(kind int, r io.Reader) error {
	if kind != websocket.BinaryMessage {
		return &closeError{websocket.CloseUnsupportedData, "messages are binary: a byte for the channel, then its data"}
	}
	var channel [1]byte
	if _, err := io.ReadFull(r, channel[:]); err == io.EOF {
		return nil
	} else if err != nil {
		return err
	}
	switch {
	case channel[0] == stdinChannel && k.spec.Stdin:
		return k.input(r)
	case channel[0] == resizeChannel:
		rows, columns, err := decodeSizes(r)
		if err == nil {
			k.link.Resize(rows, columns)
		}
		return err
	case channel[0] == closeChannel && k.halfClose:
		target, err := io.ReadAll(r)
		switch {
		case err != nil:
			return err
		case len(target) != 1 || target[0] > resizeChannel:
			return &closeError{websocket.ClosePolicyViolation, "a close message is 255 and one channel from 0 to 4"}
		case target[0] == stdinChannel:
			k.link.CloseStdin()
		}
	}
	return nil // other channels are ignored, as Kubernetes does
}

// decodeSizes returns the last of some concatenated sizes; 0: there is none.
func decodeSizes(r io.Reader) (rows, columns uint16, err error) {
	for d := json.NewDecoder(r); ; {
		var size struct{ Width, Height uint16 }
		switch err := d.Decode(&size); {
		case err == io.EOF:
			return rows, columns, nil
		case errors.Is(err, websocket.ErrReadLimit):
			return 0, 0, err
		case err != nil:
			return 0, 0, &closeError{websocket.ClosePolicyViolation, fmt.Sprintf("cannot read the terminal's size: %v", err)}
		}
		rows, columns = size.Height, size.Width
	}
}

func (k *kube) end(err error) *closeError {
	var exit *console.Exit
	if err == io.EOF {
		exit = k.info().Exit
	}
	status, closing := finalStatus(err, exit)
	body, _ := json.Marshal(status) // it cannot fail
	if why := reason(exit); why != "" && k.stderr {
		_ = k.write(websocket.BinaryMessage, false, []byte{stderrChannel}, []byte("stoker: "+why+"\n")) // the client may be gone
	}
	_ = k.write(websocket.BinaryMessage, true, []byte{errorChannel}, body)
	return closing
}

// reason is what ended a session beside its own process; empty: nothing.
func reason(exit *console.Exit) string {
	switch {
	case exit == nil:
		return ""
	case exit.OOM:
		return "the session was killed: out of memory"
	case exit.Why != "":
		return "the session was ended: " + exit.Why
	}
	return ""
}

// finalStatus is what a client gets at the end of a link. Only a close frame of 1000 is a proper end for it, and without a status
// it takes that for success.
func finalStatus(err error, exit *console.Exit) (Status, *closeError) {
	normal := &closeError{websocket.CloseNormalClosure, ""}
	switch {
	case exit != nil:
		return exitStatus(exit.Code), normal
	case err == io.EOF:
		return internalError("the exit code is unknown"), normal
	case errors.Is(err, console.ErrRevoked):
		return Failure(http.StatusForbidden, err.Error()), normal
	case errors.Is(err, errLeaving):
		return internalError(err.Error()), &closeError{websocket.CloseGoingAway, err.Error()}
	}
	return internalError(err.Error()), normal
}

// Status is the part of the Status of Kubernetes that clients read, as a body and on the channel for errors.
type Status struct {
	Kind       string         `json:"kind,omitempty"`
	APIVersion string         `json:"apiVersion,omitempty"`
	Metadata   struct{}       `json:"metadata"`
	Status     string         `json:"status"`
	Message    string         `json:"message,omitempty"`
	Reason     string         `json:"reason,omitempty"`
	Details    *StatusDetails `json:"details,omitempty"`
	Code       int            `json:"code,omitempty"`
}

// StatusDetails has the exit code.
type StatusDetails struct {
	Causes []StatusCause `json:"causes"`
}

// StatusCause is the exit code, with the reason ExitCode, or an error.
type StatusCause struct {
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message"`
}

// Failure returns the body of an answer that is an error.
func Failure(code int, message string) Status {
	reason := map[int]string{
		http.StatusBadRequest:         "BadRequest",
		http.StatusUnauthorized:       "Unauthorized",
		http.StatusForbidden:          "Forbidden",
		http.StatusNotFound:           "NotFound",
		http.StatusConflict:           "Conflict",
		http.StatusTooManyRequests:    "TooManyRequests",
		http.StatusServiceUnavailable: "ServiceUnavailable",
	}[code]
	if reason == "" && code >= http.StatusInternalServerError {
		reason = "InternalError"
	}
	return Status{Kind: "Status", APIVersion: "v1", Status: "Failure", Message: message, Reason: reason, Code: code}
}

// internalError is what a kubelet sends where there is no exit code.
func internalError(message string) Status {
	return Status{Status: "Failure", Message: "Internal error occurred: " + message, Reason: "InternalError",
		Details: &StatusDetails{[]StatusCause{{Message: message}}}, Code: http.StatusInternalServerError}
}

// exitStatus is what a kubelet sends after the command has ended.
func exitStatus(code int) Status {
	if code == 0 {
		return Status{Status: "Success"}
	}
	text := strconv.Itoa(code)
	return Status{Status: "Failure", Message: "command terminated with non-zero exit code: " + text, Reason: "NonZeroExitCode",
		Details: &StatusDetails{[]StatusCause{{"ExitCode", text}}}}
}

package console

import (
	"fmt"
	"time"
)

// Spec is what a client asks for.
type Spec struct {
	// Command is the program and its arguments; empty: the user's shell, which needs a terminal.
	Command []string `json:"command"`
	// Context is the service whose environment and user the session has; empty: a clean environment.
	Context string `json:"context,omitempty"`
	// Container is as Context, but one that is no service is ignored.
	Container string `json:"container,omitempty"`
	// User is whom the session runs as; empty: the default.
	User string `json:"user,omitempty"`
	// Dir is the working directory; empty: the user's home, or / where that cannot be used.
	Dir string   `json:"dir,omitempty"`
	Env []string `json:"env,omitempty"` // NAME=value
	TTY bool     `json:"tty"`
	// Stdin is whether there is input; without it stdin is /dev/null.
	Stdin bool `json:"stdin"`
	// Rows and Columns are the first size of the terminal; 0: 24 and 80.
	Rows    uint16 `json:"rows,omitempty"`
	Columns uint16 `json:"columns,omitempty"`
	// Keep is how long the session goes on without a client; 0: it ends with the link of its client.
	Keep Duration `json:"keep,omitempty"`
	// AuditID is the KUBERNETES_EXEC_AUDIT_ID of the client.
	AuditID string `json:"audit_id,omitempty"`
}

// Duration is a time.Duration that is written as "10m0s".
type Duration time.Duration

// MarshalText writes it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads it.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration such as 90s or 1h30m", text)
	}
	*d = Duration(v)
	return nil
}

package console

import (
	"fmt"
	"time"

	"github.com/stoker-init/stoker/jvm"
)

// Config is the section console of the configuration.
type Config struct {
	// Enabled makes the console available.
	Enabled bool `yaml:"enabled"`
	// Sessions is how many may run, and SessionsPerClient how many of one identity.
	Sessions          int `yaml:"sessions" default:"16" check:"positive"`
	SessionsPerClient int `yaml:"sessions_per_client" default:"4" check:"positive"`
	// Keep is the longest time that a session goes on without a client.
	Keep time.Duration `yaml:"keep" default:"10m" check:"notnegative"`
	// Idle ends a session without input and output for so long; 0: never.
	Idle time.Duration `yaml:"idle" default:"15m" check:"notnegative"`
	// MaxTime ends a session after so long; 0: never.
	MaxTime time.Duration `yaml:"max_time" default:"8h" check:"notnegative"`
	// Scrollback is how much of each output stream is kept for a client that attaches.
	Scrollback string `yaml:"scrollback" default:"256KiB" check:"size"`
	// User is whom sessions run as that name no user; empty: the service's user.
	User string `yaml:"user" check:"user"`
	// Env are the names of variables that a client may set, "*" at the end of a name is any rest.
	Env []string `yaml:"env"`
	// Commands are the commands that an identity may run, by its name; "*": of every identity without an entry. Each is an exact
	// list of arguments, in which "*" is any one argument. An identity for which there is no entry may run any.
	Commands  map[string][][]string `yaml:"commands"`
	Recording RecordingConfig       `yaml:"recording"`
	// Audit is a file that gets the audit lines, which are in stoker's log in any case.
	Audit string `yaml:"audit" check:"absolute"`
}

// Modes of recording.
const (
	RecordingOn       = "on"
	RecordingRequired = "required"
)

// RecordingConfig is the section recording.
type RecordingConfig struct {
	// Mode is off, on, or required: without a recording there is no session.
	Mode      string `yaml:"mode" default:"off" check:"oneof off on required"`
	Folder    string `yaml:"folder" default:"/var/lib/stoker/recordings" check:"absolute"`
	FileSize  string `yaml:"file_size" default:"16MiB" check:"size"`
	TotalSize string `yaml:"total_size" default:"256MiB" check:"size"`
	// Input records the input too, passwords included.
	Input bool `yaml:"input"`
}

// minRecording is the least room for a recording, in bytes: a header has all arguments of a command.
const minRecording = 64 << 10

// validate returns what the form of the fields does not tell.
func (c RecordingConfig) validate() (out []SpecError) {
	one, err := jvm.ParseMemory(c.FileSize)
	if err == nil && one < minRecording {
		out = append(out, SpecError{"recording.file_size", fmt.Sprintf("%s is less than %dKiB", c.FileSize, minRecording>>10)})
	}
	if all, allErr := jvm.ParseMemory(c.TotalSize); err == nil && allErr == nil && all < one {
		out = append(out, SpecError{"recording.total_size", fmt.Sprintf("%s is less than one recording of %s", c.TotalSize, c.FileSize)})
	}
	return out
}

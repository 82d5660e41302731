// Package jvm turns what a container really has into JVM options: it sizes the
// heap and the regions beside it, merges three layers of options by what they
// set, and explains every one of them. All of it is pure: no file, process or
// environment is read here.
package jvm

import (
	"encoding/json"
	"time"
)

// Config is the jvm section of the configuration.
type Config struct {
	// Flavor are the sizes that were bought for the container; absent: the
	// cgroup's limits.
	Flavor Flavor `yaml:"flavor"`
	// Flavors are profiles that Flavor.Name, or what they match, chooses.
	Flavors []Profile `yaml:"flavors"`
	// Rules switches single rules of the sizing off.
	Rules Rules `yaml:"rules"`
	// CPUs says how GC threads come from a fractional quota: CPUsCeil or
	// CPUsFloor.
	CPUs string `yaml:"cpus" check:"oneof ceil floor"`
	// Reserve is memory set aside for jobs and sessions, such as "256MiB".
	Reserve string `yaml:"reserve" check:"size"`
	// Check tries the merged options on the JVM before a start (default true).
	Check    *bool       `yaml:"check" change:"live" default:"true"`
	Default  LayerConfig `yaml:"default"`
	User     LayerConfig `yaml:"user"`
	Enforced LayerConfig `yaml:"enforced"`
	// Apply says what follows when the limits, or a file, folder or URL, give other
	// options than a running JVM was started with: ApplyReport, ApplyAdjust (default)
	// or ApplyRestart.
	Apply string `yaml:"apply" change:"live" default:"adjust" check:"oneof report adjust restart"`
	// Archive sets whether a JVM uses the archive of its classes: ArchiveAuto (default), ArchiveOff or
	// ArchiveRequire.
	Archive string `yaml:"archive" change:"live" default:"auto" check:"oneof auto off require"`
	// ArchiveDir is the folder of the archives; absent: archives in the state folder.
	ArchiveDir string `yaml:"archive_dir" json:",omitempty" change:"live" check:"absolute"`
}

// The values of Config.Archive. With ArchiveRequire a start without an archive fails.
const (
	ArchiveAuto    = "auto"
	ArchiveOff     = "off"
	ArchiveRequire = "require"
)

// The values of Config.CPUs. The default is the first, as in the JVM; with the
// second fewer GC threads share a quota such as 1.5, and are throttled less.
const (
	CPUsCeil  = "ceil"
	CPUsFloor = "floor"
)

// Flavor is what was bought for a container. Memory is "4GiB", "512MiB" or bytes.
type Flavor struct {
	// Name is that of a profile; absent: the first one that matches.
	Name   string  `yaml:"name"`
	CPUs   float64 `yaml:"cpus"`
	Memory string  `yaml:"memory" check:"size"`
}

// What Config.Apply may be.
const (
	ApplyReport = "report"
	// ApplyAdjust changes what a running JVM can change when the memory limit falls
	// below what the JVM may use.
	ApplyAdjust = "adjust"
	// ApplyRestart is ApplyAdjust, and a restart.
	ApplyRestart = "restart"
)

// LayerConfig names the sources of one layer's options, in rising precedence
// in the order of the fields.
type LayerConfig struct {
	// Options are given in the configuration itself, one argument each.
	Options []Inline `yaml:"options"`
	// Dirs are folders of files such as those of Files.
	Dirs []Dir `yaml:"dirs" json:",omitempty"`
	// Files hold one option a line; blank lines and lines that begin with #
	// are skipped.
	Files []File `yaml:"files"`
	// Argfiles are in the syntax of java's @argfiles.
	Argfiles []File `yaml:"argfiles" json:",omitempty"`
	// URLs are documents of a configuration service.
	URLs []URL `yaml:"urls" json:",omitempty"`
	// Env names environment variables that hold options; only for the user layer.
	Env []string `yaml:"env" check:"variable"`
}

// Inline is an option that the configuration itself gives: text, or a mapping
// with a condition.
type Inline struct {
	Option string `yaml:"option,short" check:"required option"`
	When   When   `yaml:"when" json:",omitzero"`
}

// File is a file of options: its path, or a mapping with a condition.
type File struct {
	File string `yaml:"file,short" check:"required"`
	When When   `yaml:"when" json:",omitzero"`
}

// Dir is a folder of option files: its path, or a mapping with a condition. Its
// regular files whose name ends in .opts and does not begin with a dot are read, in byte order.
type Dir struct {
	Dir  string `yaml:"dir,short" check:"required"`
	When When   `yaml:"when" json:",omitzero"`
}

// URL is a document of a configuration service: its address, or a mapping.
type URL struct {
	// URL is http://, https:// or unix:///path/of/socket:/http/path. ${NAME}
	// stands for a variable, or for the label whose name in capitals it is.
	URL  string `yaml:"url,short" secret:"url" check:"required remoteurl"`
	When When   `yaml:"when" json:",omitzero"`
	// Timeout bounds one try (default 2s), Deadline all tries of a start (5s).
	Timeout  time.Duration `yaml:"timeout" json:",omitzero" default:"2s" check:"positive"`
	Deadline time.Duration `yaml:"deadline" json:",omitzero" default:"5s" check:"positive"`
	// Every is the time between two requests while the JVM runs (default 60s), +-20 %; 0:
	// never.
	Every *time.Duration `yaml:"every" json:",omitempty" default:"60s" check:"atleast 1s"`
	// RequireFresh: a start fails without an answer, instead of using the last good one.
	RequireFresh bool              `yaml:"require_fresh" json:",omitempty"`
	Headers      map[string]string `yaml:"headers" json:",omitempty" check:"headers"`
	// CAFile holds PEM certificates, in addition to the system's.
	CAFile string `yaml:"ca_file" json:",omitempty" check:"absolute"`
}

// MarshalJSON gives an option without a condition as text: so it was kept and
// fingerprinted before there were conditions.
func (i Inline) MarshalJSON() ([]byte, error) {
	type plain Inline
	return textOr(i.Option, i.When, plain(i))
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (i *Inline) UnmarshalJSON(data []byte) error {
	type plain Inline
	return fromText(data, &i.Option, (*plain)(i))
}

// MarshalJSON gives a file without a condition as text, like that of Inline.
func (f File) MarshalJSON() ([]byte, error) {
	type plain File
	return textOr(f.File, f.When, plain(f))
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (f *File) UnmarshalJSON(data []byte) error {
	type plain File
	return fromText(data, &f.File, (*plain)(f))
}

func textOr(text string, when When, whole any) ([]byte, error) {
	if when.IsZero() {
		return json.Marshal(text)
	}
	return json.Marshal(whole)
}

func fromText(data []byte, text *string, whole any) error {
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, text)
	}
	return json.Unmarshal(data, whole)
}

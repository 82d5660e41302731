package jvm

import (
	"encoding/json"
	"time"
)

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

// Dir is a folder of option files: its path, or a mapping with a condition. Of it
// count the regular files whose name ends in .opts and does not begin with a dot,
// in byte order.
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

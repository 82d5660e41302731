package plugin

import (
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/jvm"
)

// State is the state of a plugin.
type State string

// States.
const (
	Inactive State = "inactive" // switched off, or its condition does not hold
	Active   State = "active"
	Failed   State = "failed" // it should be active and cannot
)

// States lists all states.
func States() []State { return []State{Inactive, Active, Failed} }

// Info describes a plugin. Secrets are masked.
type Info struct {
	Name        string `json:"name"`
	Version     string `json:"version,omitempty"`
	Description string `json:"description,omitempty"`
	State       State  `json:"state"`
	// Why it is not active; empty: it is.
	Why string `json:"why,omitempty"`
	// Off is what switched it off; empty: it is on.
	Off string `json:"off,omitempty"`
	// Undecided means that the operator's earlier switch is unknown.
	Undecided bool              `json:"undecided,omitempty"`
	Required  bool              `json:"required"`
	Dir       string            `json:"dir"`
	Params    []ParamInfo       `json:"params"`
	Options   []OptionInfo      `json:"jvm_options"`
	Hooks     []HookInfo        `json:"hooks"`
	Actions   map[string]Action `json:"actions"`
	Notes     []string          `json:"notes,omitempty"`
}

// Values of Info.Off.
const (
	OffByManifest      = "manifest"
	OffByConfiguration = "configuration"
	OffByOperator      = "operator"
)

// ParamInfo is a parameter with its value.
type ParamInfo struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	Value       string `json:"value"`
	Origin      string `json:"origin"` // "default", "configuration", "operator", "not set"
	Required    bool   `json:"required,omitempty"`
	Secret      bool   `json:"secret,omitempty"`
	Description string `json:"description,omitempty"`
}

// OptionInfo is a JVM option; its references are resolved where they have values.
type OptionInfo struct {
	Option string    `json:"option"`
	Layer  jvm.Layer `json:"layer"`
	Source string    `json:"source"` // file:line in the plugin's folder
}

// HookInfo is a hook.
type HookInfo struct {
	Event  lifecycle.Event `json:"event"`
	Name   string          `json:"name"`
	Source string          `json:"source"`
}

// JVMOptions are what an active plugin adds to JVMs.
type JVMOptions struct {
	Name     string
	Dir      string
	Required bool
	// Options by layer; their sources are "plugin NAME (FILE:LINE)".
	Options map[jvm.Layer][]jvm.Option
}

package config

import "github.com/stoker-init/stoker/internal/redact"

// secretPath reports whether the value at path belongs to a secret key.
func secretPath(path string) bool { return redact.Name(lastKey(path)) }

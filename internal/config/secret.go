package config

import (
	"strings"

	"github.com/stoker-init/stoker/internal/redact"
)

// looksSecret reports whether a variable, header or option of that name is
// likely to hold a secret. It errs on the side of hiding.
func looksSecret(name string) bool {
	upper := strings.ToUpper(name)
	return redact.Name(name) || strings.Contains(upper, "AUTHORIZATION") || strings.Contains(upper, "COOKIE")
}

// secretPath reports whether the value at path belongs to a secret key.
func secretPath(path string) bool { return looksSecret(lastKey(path)) }

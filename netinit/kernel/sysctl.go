package kernel

import "errors"

// warning is an error that does not keep the rest of a plan from being applied.
type warning struct{ error }

func (w warning) Unwrap() error { return w.error }

// readSysctl returns the setting name of a link; family is "ipv4" or "ipv6".
func readSysctl(link, family, name string) (string, error) { return "", errors.New("not written yet") }

// writeSysctl makes the setting name of a link value, if it is another one, and returns the one before. A warning says that it cannot be
// written here.
func writeSysctl(link, family, name, value string) (before string, err error) {
	return "", errors.New("not written yet")
}

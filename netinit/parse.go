package netinit

import "errors"

// MaxInput bounds a description in bytes.
const MaxInput = 1 << 20

// Parse converts a description to a plan. name is its source, for messages. An error lists everything that is wrong, with the lines and
// paths of the values; then there is no plan.
func Parse(format Format, name string, data []byte) (*Plan, error) {
	return nil, errors.New("not written yet")
}

package executor

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// ParseSpec reads the JSON form of a Spec. A *SpecError names every field that cannot be read, also unknown ones; what the
// fields mean is not checked.
func ParseSpec(text []byte) (Spec, error) {
	spec, err := decodeSpec(text)
	if err == nil {
		return spec, nil
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(text, &members) != nil {
		return spec, fmt.Errorf("cannot read the spec: %w", err)
	}
	wrong := &SpecError{}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		alone, err := json.Marshal(map[string]json.RawMessage{name: members[name]})
		if err == nil {
			_, err = decodeSpec(alone)
		}
		if err != nil {
			wrong.Fields = append(wrong.Fields, fieldError(name, err))
		}
	}
	if len(wrong.Fields) == 0 { // one of two members with one name
		return spec, fmt.Errorf("cannot read the spec: %w", err)
	}
	return spec, wrong
}

func decodeSpec(text []byte) (spec Spec, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err = dec.Decode(&spec); err == nil {
		if _, more := dec.Token(); more != io.EOF {
			err = errors.New("something follows the object")
		}
	}
	return spec, err
}

// fieldError is what is wrong with a member of a Spec, for an error of encoding/json.
func fieldError(name string, err error) FieldError {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		field := strings.TrimPrefix(kind.Field, "Attributes.") // an embedded struct, which encoding/json names
		return FieldError{Field: cmp.Or(field, name), Why: "it cannot be a JSON " + kind.Value}
	}
	if field, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown { // there is no type for it
		if field = strings.Trim(field, `"`); field != name {
			name += "." + field
		}
		return FieldError{Field: name, Why: "there is no such field"}
	}
	return FieldError{Field: name, Why: err.Error()}
}

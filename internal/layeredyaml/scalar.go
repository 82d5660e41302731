package layeredyaml

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/lazyregexp"
)

// valueError is what is wrong with one value, before its place is known.
type valueError struct{ message, hint string }

var (
	booleans  = map[string]bool{"true": true, "True": true, "TRUE": true, "false": false, "False": false, "FALSE": false}
	boolHints = map[string]string{"on": "write true", "yes": "write true", "y": "write true", "1": "write true",
		"off": "write false", "no": "write false", "n": "write false", "0": "write false"}

	leadingZero   = lazyregexp.New(`^[+-]*0[0-9.eE+-]+$`)
	clockTime     = lazyregexp.New(`^([0-9]{1,4}):([0-9]{2})$`)
	numberAndUnit = lazyregexp.New(`^([0-9]+(?:\.[0-9]+)?) *([a-zA-Z]*)$`)
)

// setScalar parses text as the type of v, a leaf of the schema, and returns nil if it is set.
// Text is literal: 0027, 1.10 and no are not converted.
func setScalar(v reflect.Value, path, text string) *valueError {
	t, wrong, hint := plain(v.Type()), "", ""
	value, mismatch := reflect.New(t).Elem(), "is not "+typeName(t)
	switch {
	case strings.ContainsRune(text, 0):
		wrong = "has a NUL byte"
	case isDuration(t):
		d, err := time.ParseDuration(text)
		value.SetInt(int64(d))
		if err != nil {
			wrong, hint = notDuration(text)
		}
	case t.Kind() == reflect.String:
		value.SetString(text)
	case t.Kind() == reflect.Bool:
		b, known := booleans[text]
		value.SetBool(b)
		if !known {
			wrong, hint = mismatch, boolHints[strings.ToLower(text)]
		}
	case t.Kind() == reflect.Int:
		n, err := strconv.Atoi(text)
		value.SetInt(int64(n))
		if leadingZero().MatchString(text) { // YAML 1.1 would read 010 as 8 and YAML 1.2 as 10
			wrong, hint = "begins with 0", "write a decimal number without it"
		} else if err != nil {
			wrong = mismatch
		}
	case t.Kind() == reflect.Float64:
		x, err := strconv.ParseFloat(text, 64)
		value.SetFloat(x)
		// The other forms that strconv parses: hexadecimal, underscores, inf, nan.
		if err != nil || math.IsInf(x, 0) || strings.Trim(text, "0123456789.eE+-") != "" {
			wrong = mismatch
		}
	}
	if wrong != "" {
		return &valueError{Quote(path, text) + " " + wrong, hint}
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(t))
		v = v.Elem()
	}
	v.Set(value)
	return nil
}

// notDuration is what is wrong with a text that time.ParseDuration refuses.
func notDuration(text string) (wrong, hint string) {
	wrong, hint = "is not a duration", "the units are h, m, s and ms: 90s, 1m30s, 500ms"
	if guess, ok := GuessDuration(text); ok {
		hint = "write " + guess
	}
	if m := numberAndUnit().FindStringSubmatch(text); m != nil && m[2] == "" {
		wrong = "needs a unit"
	}
	return wrong, hint
}

// unitWords are what people write for the units; d for days.
var unitWords = map[string]string{"": "s", "s": "s", "sec": "s", "secs": "s", "second": "s", "seconds": "s", "m": "m", "min": "m",
	"mins": "m", "minute": "m", "minutes": "m", "h": "h", "hr": "h", "hrs": "h", "hour": "h", "hours": "h", "ms": "ms", "msec": "ms", "millis": "ms",
	"millisecond": "ms", "milliseconds": "ms", "d": "d", "day": "d", "days": "d"}

// GuessDuration returns the duration that is meant by a text such as 5, 10 min, 2days or
// 1:30.
func GuessDuration(text string) (string, bool) {
	if m := clockTime().FindStringSubmatch(text); m != nil {
		return m[1] + "m" + m[2] + "s", true
	}
	m := numberAndUnit().FindStringSubmatch(text)
	if m == nil {
		return "", false
	}
	number, unit := m[1], unitWords[strings.ToLower(m[2])]
	if unit != "d" {
		return number + unit, unit != ""
	}
	days, err := strconv.Atoi(number)
	return fmt.Sprintf("%dh", days*24), err == nil && days < 10000
}

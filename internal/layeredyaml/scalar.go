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

// parseScalar turns text into a value of type t, a leaf of the schema. Text is literal:
// 0027, 1.10 and no are not converted. ok is false when f says what is wrong.
func parseScalar(t reflect.Type, path, text string) (v reflect.Value, f valueError, ok bool) {
	if strings.ContainsRune(text, 0) {
		return v, valueError{message: Quote(path, text) + " has a NUL byte"}, false
	}
	v = reflect.New(t).Elem()
	switch {
	case isDuration(t):
		d, f, ok := parseDuration(path, text)
		v.SetInt(int64(d))
		return v, f, ok
	case t.Kind() == reflect.String:
		v.SetString(text)
		return v, f, true
	case t.Kind() == reflect.Bool:
		switch text {
		case "true", "True", "TRUE":
			v.SetBool(true)
			return v, f, true
		case "false", "False", "FALSE":
			return v, f, true
		}
	case t.Kind() == reflect.Int:
		n, f, ok := parseInt(path, text)
		v.SetInt(int64(n))
		return v, f, ok
	case t.Kind() == reflect.Float64:
		if decimal(text) {
			if x, err := strconv.ParseFloat(text, 64); err == nil && !math.IsInf(x, 0) {
				v.SetFloat(x)
				return v, f, true
			}
		}
	}
	return v, valueError{message: Quote(path, text) + " is not " + typeName(t), hint: scalarHint(t, text)}, false
}

func scalarHint(t reflect.Type, text string) string {
	if t.Kind() != reflect.Bool {
		return ""
	}
	switch strings.ToLower(text) {
	case "on", "yes", "y", "1":
		return "write true"
	case "off", "no", "n", "0":
		return "write false"
	}
	return ""
}

// decimal refuses the other forms that strconv parses: hexadecimal, underscores, inf, nan.
func decimal(text string) bool {
	return text != "" && strings.Trim(text, "0123456789.eE+-") == ""
}

func parseInt(path, text string) (int, valueError, bool) {
	digits := strings.TrimLeft(text, "+-")
	if len(digits) > 1 && digits[0] == '0' && decimal(digits) {
		// YAML 1.1 would read 010 as 8 and YAML 1.2 as 10.
		return 0, valueError{Quote(path, text) + " begins with 0", "write a decimal number without it"}, false
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, valueError{message: Quote(path, text) + " is not a whole number"}, false
	}
	return n, valueError{}, true
}

var (
	numberAndUnit = lazyregexp.New(`^([0-9]+(?:\.[0-9]+)?) *([a-zA-Z]*)$`)
	clockTime     = lazyregexp.New(`^([0-9]{1,4}):([0-9]{2})$`)
)

// parseDuration is time.ParseDuration with hints for what people write instead.
func parseDuration(path, text string) (time.Duration, valueError, bool) {
	if d, err := time.ParseDuration(text); err == nil {
		return d, valueError{}, true
	}
	e := valueError{Quote(path, text) + " is not a duration", "the units are h, m, s and ms: 90s, 1m30s, 500ms"}
	guess, ok := GuessDuration(text)
	if ok {
		e.hint = "write " + guess
	}
	if m := numberAndUnit().FindStringSubmatch(text); m != nil && m[2] == "" {
		e.message = Quote(path, text) + " needs a unit"
	}
	return 0, e, false
}

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
	switch number := m[1]; strings.ToLower(m[2]) {
	case "", "s", "sec", "secs", "second", "seconds":
		return number + "s", true
	case "m", "min", "mins", "minute", "minutes":
		return number + "m", true
	case "h", "hr", "hrs", "hour", "hours":
		return number + "h", true
	case "ms", "msec", "millis", "millisecond", "milliseconds":
		return number + "ms", true
	case "d", "day", "days":
		days, err := strconv.Atoi(number)
		return fmt.Sprintf("%dh", days*24), err == nil && days < 10000
	}
	return "", false
}

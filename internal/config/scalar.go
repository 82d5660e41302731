package config

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// fault is what is wrong with one value, before its place is known.
type fault struct{ message, hint string }

// parseScalar turns text into a value of type t, a leaf of the schema. Text is
// taken as it is written: 0027, 1.10 and no stay what they look like. ok is
// false when f says what is wrong.
func parseScalar(t reflect.Type, path, text string) (v reflect.Value, f fault, ok bool) {
	if strings.ContainsRune(text, 0) {
		return v, fault{message: quote(path, text) + " has a NUL byte"}, false
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
	return v, fault{message: quote(path, text) + " is not " + wanted(t), hint: scalarHint(t, text)}, false
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

// decimal refuses what strconv reads besides: hexadecimal, underscores, inf, nan.
func decimal(text string) bool {
	return text != "" && strings.Trim(text, "0123456789.eE+-") == ""
}

func parseInt(path, text string) (int, fault, bool) {
	digits := strings.TrimLeft(text, "+-")
	if len(digits) > 1 && digits[0] == '0' && decimal(digits) {
		// YAML 1.1 would read 010 as 8 and YAML 1.2 as 10.
		return 0, fault{quote(path, text) + " begins with 0", "write a decimal number without it"}, false
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fault{message: quote(path, text) + " is not a whole number"}, false
	}
	return n, fault{}, true
}

// parseDuration is time.ParseDuration with hints for what people write instead.
func parseDuration(path, text string) (time.Duration, fault, bool) {
	if d, err := time.ParseDuration(text); err == nil {
		return d, fault{}, true
	}
	const units = "the units are h, m, s and ms"
	f := fault{quote(path, text) + " is not a duration", units + ": 90s, 1m30s, 500ms"}
	number := regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) *([a-zA-Z]*)$`).FindStringSubmatch(text)
	switch {
	case number == nil:
		if m := regexp.MustCompile(`^([0-9]{1,4}):([0-9]{2})$`).FindStringSubmatch(text); m != nil {
			f.hint = "write " + m[1] + "m" + m[2] + "s"
		}
	case number[2] == "":
		f = fault{quote(path, text) + " needs a unit", "write " + number[1] + "s"}
	case strings.HasPrefix(strings.ToLower(number[2]), "d"):
		if days, err := strconv.Atoi(number[1]); err == nil && days < 10000 {
			f.hint = fmt.Sprintf("write %dh", days*24)
		}
	default:
		if unit, ok := knownUnit(number[2]); ok {
			f.hint = "write " + number[1] + unit
		}
	}
	return 0, f, false
}

// knownUnit returns the unit that is meant by a word such as "sec".
func knownUnit(word string) (string, bool) {
	switch strings.ToLower(word) {
	case "s", "sec", "secs", "second", "seconds":
		return "s", true
	case "m", "min", "mins", "minute", "minutes":
		return "m", true
	case "h", "hr", "hrs", "hour", "hours":
		return "h", true
	case "ms", "msec", "millis", "millisecond", "milliseconds":
		return "ms", true
	}
	return "", false
}

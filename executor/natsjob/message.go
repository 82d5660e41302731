package natsjob

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stoker-init/stoker/executor"
)

// Headers of messages.
const (
	traceparentHeader = "traceparent"
	tracestateHeader  = "tracestate"
	baggageHeader     = "baggage"
	ttlHeader         = "Nats-TTL"
	scheduleHeader    = "Nats-Schedule"
	targetHeader      = "Nats-Schedule-Target"

	jobHeader       = "Stoker-Job"
	keyHeader       = "Stoker-Key"
	stateHeader     = "Stoker-State"
	containerHeader = "Stoker-Container"
	labelsHeader    = "Stoker-Labels"
)

// header returns a header; the case of its name does not matter, since clients differ in it.
func header(h nats.Header, name string) string {
	for have, values := range h {
		if strings.EqualFold(have, name) && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

// placeOf names a message by its place in the stream, and the time of its arrival, since a stream that was made again has other places.
func placeOf(m *jetstream.MsgMetadata) string {
	return fmt.Sprintf("nats/%s/%d/%s", m.Stream, m.Sequence.Stream, m.Timestamp.UTC().Format(time.RFC3339Nano))
}

// specOf returns the job of a message. The Spec has its key also with an error.
func specOf(data []byte, h nats.Header, m *jetstream.MsgMetadata, now time.Time) (executor.Spec, error) {
	spec, err := executor.ParseSpec(data)
	spec.Key = cmp.Or(spec.Key, header(h, jetstream.MsgIDHeader), placeOf(m))
	if err != nil {
		return spec, err
	}
	spec.Traceparent = cmp.Or(spec.Traceparent, header(h, traceparentHeader))
	spec.Tracestate = cmp.Or(spec.Tracestate, header(h, tracestateHeader))
	spec.Baggage = cmp.Or(spec.Baggage, header(h, baggageHeader))
	if at := header(h, scheduleHeader); at != "" && spec.NotBefore.IsZero() {
		if spec.NotBefore, err = scheduleTime(at); err != nil {
			return spec, err
		}
	}
	ttl, err := parseTTL(header(h, ttlHeader))
	if err != nil {
		return spec, err
	}
	if ttl > 0 && spec.StartWithin == 0 { // a message that was late starts never
		spec.StartWithin = executor.Duration(max(m.Timestamp.Add(ttl).Sub(now), 1))
	}
	return spec, nil
}

// scheduleTime reads the header Nats-Schedule of a message for one time: "@at 2030-01-01T00:00:00Z".
func scheduleTime(text string) (time.Time, error) {
	at, once := strings.CutPrefix(text, "@at ")
	t, err := time.Parse(time.RFC3339, at)
	if !once || err != nil {
		return time.Time{}, fmt.Errorf("header %s: %.100q is not like %q", scheduleHeader, text, "@at 2030-01-01T00:00:00Z")
	}
	return t, nil
}

// parseTTL reads the header Nats-TTL as the server does: seconds, or a duration; 0: the message does not expire.
func parseTTL(text string) (time.Duration, error) {
	if text == "" || strings.EqualFold(text, "never") {
		return 0, nil
	}
	if ttl, err := time.ParseDuration(text); err == nil && ttl >= 0 {
		return ttl, nil
	}
	const most = 1 << 32
	seconds, err := strconv.ParseUint(text, 10, 64)
	if err != nil || seconds > most {
		return 0, fmt.Errorf("header %s: %.100q is not like 90s or 90", ttlHeader, text)
	}
	return time.Duration(seconds) * time.Second, nil
}

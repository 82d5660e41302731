package remote

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/stoker-init/stoker/internal/statefile"
)

// maxCopy bounds a saved answer in bytes: one with every byte escaped, plus metadata.
const maxCopy = 6*maxAnswer + 64<<10

// savedAnswer is the last good answer to one URL, as stored on disk.
type savedAnswer struct {
	URL string `json:"url"` // masked for display
	// Key is a hash of the URL with its secrets.
	Key          string    `json:"key"`
	Time         time.Time `json:"time"` // when the service last gave or confirmed it
	ETag         string    `json:"etag,omitempty"`
	LastModified string    `json:"last_modified,omitempty"`
	ContentType  string    `json:"content_type,omitempty"`
	Body         string    `json:"body"`
	answer       Answer    // the parsed body
}

func cacheKey(t target) string {
	sum := sha256.Sum256([]byte(t.full))
	return hex.EncodeToString(sum[:])
}

// file returns the state file of a key.
func (f *Fetcher) file(key string) statefile.File {
	return statefile.File{Path: filepath.Join(f.Dir, key[:32]+".json"), Kind: "last-good-answer", Max: maxCopy}
}

// load reads the saved answer of a key; nil without an error if there is none that is accepted.
func (f *Fetcher) load(key string) (*savedAnswer, error) {
	if f.Dir == "" {
		return nil, nil
	}
	k := new(savedAnswer)
	err := f.file(key).Read(k)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = k.parse(key, time.Now())
	}
	if err != nil || f.Accept != nil && f.Accept(k.answer) != nil { // Accept has changed since it was saved
		return nil, err
	}
	return k, nil
}

// parse parses the saved answer if it belongs to key. A time after now is set to now.
func (k *savedAnswer) parse(key string, now time.Time) (err error) {
	if k.Key != key {
		return errors.New("it is that of another URL")
	}
	if k.Time.After(now) { // the clock was set back
		k.Time = now
	}
	k.answer, err = ParseAnswer(k.ContentType, []byte(k.Body))
	return err
}

// save replaces the saved answer.
func (f *Fetcher) save(k *savedAnswer) error {
	if f.Dir == "" {
		return errors.New("there is no folder for it")
	}
	if err := os.MkdirAll(f.Dir, 0o700); err != nil {
		return err
	}
	k.Time = k.Time.UTC().Round(0)
	return f.file(k.Key).Write(k)
}

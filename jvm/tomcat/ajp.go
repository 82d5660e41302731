package tomcat

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"time"
)

// PingAJP asks an AJP connector whether it serves (CPing of AJP/1.3). It needs no secret, and is answered when the connector has been
// started, which is after all applications.
func PingAJP(ctx context.Context, address string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := conn.Write([]byte{0x12, 0x34, 0, 1, 10}); err != nil {
		return fmt.Errorf("cannot ask %s by AJP: %w", address, err)
	}
	answer, pong := make([]byte, 5), []byte{'A', 'B', 0, 1, 9}
	if _, err := io.ReadFull(conn, answer); err != nil {
		return fmt.Errorf("AJP %s: no answer: %w", address, err)
	}
	if !bytes.Equal(answer, pong) {
		return fmt.Errorf("AJP %s: what answers does not speak AJP: %q", address, answer)
	}
	return nil
}

// A Pub/Sub service in memory for the tests: Google's own fake, on a loopback port, until it is told to end.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"cloud.google.com/go/pubsub/v2/pstest"
	"google.golang.org/grpc/codes"
)

func main() {
	port := flag.Int("port", 0, "port on loopback; 0: a free one")
	address := flag.String("address-file", "", "file that gets the address; it is there once the service answers")
	deadline := flag.Duration("min-ack-deadline", 10*time.Second, "least deadline that a subscription may have, 1 s or more")
	var options []pstest.ServerReactorOption
	flag.Func("fail", "a call that always fails, and how: Pull=PERMISSION_DENIED; may be repeated", func(said string) error {
		call, name, _ := strings.Cut(said, "=")
		var code codes.Code
		if err := code.UnmarshalJSON([]byte(strconv.Quote(name))); err != nil {
			return err
		}
		options = append(options, pstest.WithErrorInjection(call, code, "as the test wants it"))
		return nil
	})
	flag.Parse()

	pstest.SetMinAckDeadline(*deadline)
	server := pstest.NewServerWithAddress(fmt.Sprintf("127.0.0.1:%d", *port), options...)
	if *address == "" {
		fmt.Println(server.Addr)
	} else if err := announce(*address, server.Addr); err != nil {
		log.Fatal(err)
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, os.Interrupt)
	<-ended
	server.Close()
}

// Whoever waits for the file never sees a part of it.
func announce(path, address string) error {
	if err := os.WriteFile(path+".new", []byte(address), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

package stream

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// Caps of the embedded server.
const (
	// maxPayload holds the largest group with its headers.
	maxPayload = 1<<20 + 4<<10
	// maxPending is what the server holds for one slow reader before it drops
	// the connection. The gateway's own connection reads without pause.
	maxPending = 64 << 20
	// keptFree stays free on the disk, whoever fills it, so that the stream
	// refuses cleanly (ErrFull) before writes fail: after one that failed
	// JetStream takes nothing more until the next start.
	keptFree = 256 << 20
	// maxControlLine holds a CONNECT with the JWT of a node, some 900 bytes.
	maxControlLine = 4096
	// maxSubscriptions of one connection: an application has its inbox and two.
	maxSubscriptions = 100
	// maxConnections in all, if Options does not say.
	maxConnections = 10_000
	// whoMust is how long a client may take to say who it is, and again for the
	// handshake of TLS, in seconds.
	whoMust = 2
)

// embedded is a nats-server inside this process.
type embedded struct {
	srv  *server.Server
	door *doorman
	log  *serverLog
	out  *front   // nil: clients come to the server directly
	lock *os.File // holds the directory
}

// startEmbedded starts the server and waits until it is ready.
func startEmbedded(o Options) (*embedded, error) {
	if err := checkDirectory(o.Dir); err != nil {
		return nil, err
	}
	lock, err := lockDirectory(o.Dir)
	if err != nil {
		return nil, err
	}
	if err := checkBlocks(o.Dir); err != nil {
		lock.Close()
		return nil, err
	}
	e := &embedded{door: newDoorman(o), lock: lock}
	e.log = &serverLog{log: o.Logger, door: e.door}
	so, err := e.options(o)
	if err == nil {
		e.srv, err = server.NewServer(so)
	}
	if err != nil {
		e.closeFront()
		lock.Close()
		return nil, fmt.Errorf("start embedded server: %w", err)
	}
	e.door.alive = func(id uint64) bool { return e.srv.GetClient(id) != nil }
	e.srv.SetLogger(e.log, false, false)
	if err := e.start(o.StartWait); err != nil {
		e.close()
		return nil, err
	}
	if e.out != nil {
		go e.out.serve(e.dialAddr())
	}
	return e, nil
}

// start returns when the server takes connections and has its streams. Reading
// them can take for ever where the disk has damaged them.
func (e *embedded) start(wait time.Duration) error {
	deadline := time.Now().Add(wait)
	late := fmt.Errorf("%w: embedded server is not ready after %v, see the log", ErrUnreachable, wait)
	go e.srv.Start()
	if !e.srv.ReadyForConnections(wait) {
		return late
	}
	// A server that trusts operators waits for them to say who may have streams.
	ready := make(chan error, 1)
	go func() { ready <- e.srv.GlobalAccount().EnableJetStream(nil, nil) }()
	select {
	case err := <-ready:
		if err != nil {
			return fmt.Errorf("%w: start JetStream: %w", ErrUnreachable, err)
		}
		return nil
	case <-time.After(time.Until(deadline)):
		return late
	}
}

func (e *embedded) options(o Options) (*server.Options, error) {
	trusted, err := nobody()
	if err != nil {
		return nil, err
	}
	system := server.NewAccount(server.DEFAULT_SYSTEM_ACCOUNT)
	system.Issuer = trusted[0] // else the server would not take its own
	so := &server.Options{
		ServerName: "meterseal", StoreDir: o.Dir,
		JetStream: true, SyncAlways: true,
		SyncInterval: 2 * time.Minute, // upkeep of blocks; SyncAlways does the fsyncs
		// The size of the stream is the limit. One of the server that is below what
		// the stream was once given would let no start succeed on a fuller disk.
		JetStreamMaxStore:  1 << 60,
		JetStreamMaxMemory: 64 << 20,
		MaxPayload:         maxPayload, MaxPending: maxPending,
		MaxControlLine: maxControlLine, MaxSubs: maxSubscriptions, MaxConn: o.MaxConnections,
		WriteDeadline: 2 * time.Second, AuthTimeout: whoMust,
		NoSigs: true, // else a signal ends in os.Exit(0)
		// The subjects of answers are all different: caching their routes costs
		// more than it gives.
		NoSublistCache:         true,
		DisableJetStreamBanner: true,
		// The daemon's own connections are plain. The doorman sees which are.
		AllowNonTLS: true, AlwaysEnableNonce: true, CustomClientAuthentication: e.door,
		TrustedKeys: trusted, SystemAccount: system.Name, Accounts: []*server.Account{system},
		TLSConfig: o.TLS, TLSTimeout: whoMust,
	}
	if o.InProcess {
		so.DontListen = true
		return so, nil
	}
	listen := o.Listen
	if o.Strangers > 0 {
		if err := e.openFront(o); err != nil {
			return nil, err
		}
		listen = "127.0.0.1:0"
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, fmt.Errorf("listen address %q: %w", o.Listen, err)
	}
	if so.Port, err = strconv.Atoi(port); err != nil {
		return nil, fmt.Errorf("listen address %q: %w", o.Listen, err)
	}
	so.Host = host
	if so.Port == 0 {
		so.Port = server.RANDOM_PORT
		return so, nil
	}
	return so, probeListen(listen)
}

// nobody is the key of an operator that does not exist. A server that trusts none
// throws the JWT of a client away before the doorman sees it. Whom it trusts says
// nothing where a doorman decides.
func nobody() ([]string, error) {
	pair, err := nkeys.CreateOperator()
	if err != nil {
		return nil, err
	}
	key, err := pair.PublicKey()
	return []string{key}, err
}

// openFront listens in the server's place.
func (e *embedded) openFront(o Options) (err error) {
	if e.out, err = listenFront(o.Listen, o.Strangers, e.door.refused); err != nil {
		return listenError(o.Listen, err)
	}
	e.door.front = e.out
	return nil
}

// probeListen finds an occupied address before the server does, which would
// only log it and never be ready.
func probeListen(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return listenError(addr, err)
	}
	return l.Close()
}

func listenError(addr string, err error) error {
	if isAddressInUse(err) {
		return fmt.Errorf("%w: %s; stop the other program or choose another address", ErrAddressInUse, addr)
	}
	return fmt.Errorf("listen at %s: %w", addr, err)
}

// addr is where clients connect: what was asked for, with the port that it got.
func (e *embedded) addr() string {
	if e.out != nil {
		return e.out.l.Addr().String()
	}
	if a, ok := e.srv.Addr().(*net.TCPAddr); ok && a != nil {
		return a.String()
	}
	return ""
}

// dialAddr is where the daemon itself connects.
func (e *embedded) dialAddr() string {
	a, ok := e.srv.Addr().(*net.TCPAddr)
	if !ok || a == nil {
		return ""
	}
	if a.IP.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(a.Port))
	}
	return a.String()
}

func (e *embedded) closeFront() {
	if e.out != nil {
		e.out.close()
	}
}

func (e *embedded) close() {
	e.closeFront()
	e.srv.Shutdown()
	e.srv.WaitForShutdown() // Shutdown alone returns before index.db is written
	e.lock.Close()
}

// checkDirectory makes dir and reports a missing right.
func checkDirectory(dir string) error {
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		var f *os.File
		if f, err = os.CreateTemp(dir, ".probe-*"); err == nil {
			f.Close()
			err = os.Remove(f.Name())
		}
	}
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w: write the directory %s; give it to the user of the daemon", ErrNoPermission, dir)
	case err != nil:
		return fmt.Errorf("%w: directory %s: %w", ErrUnreachable, dir, err)
	}
	return nil
}

// discardLog is the logger of options without one.
func discardLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

package meter

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

// A link is the network between applications and the daemon: it can be cut, can
// stand still, and leads to the daemon of the moment.
type link struct {
	l     net.Listener
	mu    sync.Mutex // protects what follows
	to    string
	open  map[net.Conn]bool
	stall chan struct{} // not nil: nothing passes until it is closed
	down  bool          // nobody gets through
}

func newLink(tb testing.TB) *link {
	tb.Helper()
	d := &link{l: must(net.Listen("tcp", "127.0.0.1:0")), open: map[net.Conn]bool{}}
	tb.Cleanup(func() {
		d.l.Close()
		d.cut()
	})
	go func() {
		for {
			c, err := d.l.Accept()
			if err != nil {
				return
			}
			go d.pass(c)
		}
	}()
	return d
}

func (d *link) url() string { return "nats://" + d.l.Addr().String() }

// leadTo sends new connections to a NATS URL.
func (d *link) leadTo(tb testing.TB, natsURL string) {
	tb.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.to = must(url.Parse(natsURL)).Host
}

// cut ends all connections, in the middle of whatever is on its way.
func (d *link) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.open {
		c.Close()
	}
	clear(d.open)
}

// shut lets nobody through until it is called with false.
func (d *link) shut(down bool) {
	d.mu.Lock()
	d.down = down
	d.mu.Unlock()
	if down {
		d.cut()
	}
}

// still lets connections stand, but nothing pass, until the returned function is
// called.
func (d *link) still() (goOn func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	stall := make(chan struct{})
	d.stall = stall
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.stall = nil
		close(stall)
	}
}

func (d *link) pass(c net.Conn) {
	d.mu.Lock()
	to, down := d.to, d.down
	d.mu.Unlock()
	if down || to == "" {
		c.Close()
		return
	}
	s, err := net.DialTimeout("tcp", to, time.Second)
	if err != nil {
		c.Close()
		return // the daemon is down: the client tries again
	}
	d.mu.Lock()
	d.open[c], d.open[s] = true, true
	d.mu.Unlock()
	go d.copy(s, c)
	d.copy(c, s)
	d.mu.Lock()
	delete(d.open, c)
	delete(d.open, s)
	d.mu.Unlock()
}

func (d *link) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 8<<10)
	for {
		n, err := from.Read(buf)
		d.mu.Lock()
		stall := d.stall
		d.mu.Unlock()
		if stall != nil {
			<-stall
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			_ = err == io.EOF // either end may die at any time
			return
		}
	}
}

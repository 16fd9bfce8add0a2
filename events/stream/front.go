package stream

import (
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// maxStrangers is how many connections without credentials there may be in all.
// Beyond it the oldest has to go: whoever has credentials shows them at once.
const maxStrangers = 256

// front takes connections in the server's place and hands them on once it is
// sure that strangers do not crowd out those who belong here. The server counts
// connections too, but not whose: 120 sockets that say nothing kept a valid node
// out of one that takes 50.
//
// A connection goes to the server's own listener, which is for this machine
// alone; by its local address there the doorman asks who it really is.
type front struct {
	l          net.Listener
	server     string
	perAddress int
	refused    func(Refusal)
	copying    sync.WaitGroup

	mu        sync.Mutex // protects what follows
	closed    bool
	byLocal   map[string]*visitor
	strangers []*visitor // oldest first
}

// visitor is a connection on its way through the front.
type visitor struct {
	outer, inner net.Conn
	remote       net.Addr
	host         string
}

// listenFront opens the front.
func listenFront(listen string, perAddress int, refused func(Refusal)) (*front, error) {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, err
	}
	return &front{l: l, perAddress: perAddress, refused: refused, byLocal: map[string]*visitor{}}, nil
}

// serve hands connections on to a server until the front closes.
func (f *front) serve(server string) {
	f.server = server
	for {
		c, err := f.l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // too many open files, most likely: who left makes room
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if v := f.take(c); v != nil {
			go f.carry(v)
		}
	}
}

// take lets a connection in, or closes it.
func (f *front) take(c net.Conn) *visitor {
	v := &visitor{outer: c, remote: c.RemoteAddr(), host: addressOf(c.RemoteAddr())}
	f.mu.Lock()
	n := 0
	for _, s := range f.strangers {
		if s.host == v.host {
			n++
		}
	}
	if f.closed || n >= f.perAddress {
		f.mu.Unlock()
		c.Close()
		if n >= f.perAddress {
			f.refused(Refusal{Reason: ReasonConnections, Remote: v.host, Message: strconv.Itoa(n) + " connections of this address have shown no credentials",
				Hint: "they have to be shown at once"})
		}
		return nil
	}
	var oldest *visitor
	if len(f.strangers) >= maxStrangers {
		oldest = f.strangers[0]
		f.strangers = f.strangers[1:]
	}
	f.strangers = append(f.strangers, v)
	f.copying.Add(1)
	f.mu.Unlock()
	if oldest != nil {
		oldest.outer.Close()
		f.refused(Refusal{Reason: ReasonConnections, Remote: oldest.host, Message: "it has shown no credentials, and too many others wait"})
	}
	return v
}

// carry copies what v and the server say to each other, until one of them ends.
func (f *front) carry(v *visitor) {
	defer f.copying.Done()
	defer v.outer.Close()
	defer f.leave(v)
	inner, err := net.Dial("tcp", f.server)
	if err != nil {
		return
	}
	defer inner.Close()
	f.mu.Lock()
	v.inner = inner
	f.byLocal[inner.LocalAddr().String()] = v
	f.mu.Unlock()
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(inner, v.outer) // either way it is over
		inner.Close()
		close(done)
	}()
	_, _ = io.Copy(v.outer, inner)
	v.outer.Close()
	<-done
}

// leave forgets v.
func (f *front) leave(v *visitor) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if v.inner != nil {
		delete(f.byLocal, v.inner.LocalAddr().String())
	}
	f.dropStrangerLocked(v)
}

func (f *front) dropStrangerLocked(v *visitor) {
	f.strangers = slices.DeleteFunc(f.strangers, func(s *visitor) bool { return s == v })
}

// remote is who stands behind a connection of the server: itself, if it did not
// come through the front.
func (f *front) remote(a net.Addr) net.Addr {
	f.mu.Lock()
	defer f.mu.Unlock()
	if v := f.byLocal[a.String()]; v != nil {
		return v.remote
	}
	return a
}

// admitted says that the connection has shown who it is.
func (f *front) admitted(a net.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if v := f.byLocal[a.String()]; v != nil {
		f.dropStrangerLocked(v)
	}
}

// close takes nothing more and ends what is there.
func (f *front) close() {
	f.l.Close()
	f.mu.Lock()
	f.closed = true
	open := slices.Clone(f.strangers)
	for _, v := range f.byLocal {
		open = append(open, v)
	}
	f.mu.Unlock()
	for _, v := range open {
		v.outer.Close()
	}
	f.copying.Wait()
}

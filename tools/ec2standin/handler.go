package ec2standin

import (
	"bytes"
	"crypto/tls"
	"encoding/xml"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

const (
	apiVersion   = "2016-11-15"
	xmlNamespace = "http://ec2.amazonaws.com/doc/" + apiVersion + "/"
	maxBody      = 1 << 20 // bytes of a request
)

// request is one call with its parameters, as an action sees it.
type request struct {
	params
	server *Server
	stale  time.Duration // how far back a read looks
}

// world is what a read sees.
func (r *request) world() *state { return r.server.read(r.stale) }

// action is one action of the API.
type action struct {
	mutating    bool
	params      []string // names of parameters taken; of lists and structures the first part
	unsupported []string // parameters EC2 takes and the stand-in refuses
	// parse checks the form of the parameters and returns the work to do. What
	// depends on the world is checked by the work.
	parse func(r *request) (work, *apiError)
	// needs says what permissions a call needs; nil: one for the action, on no
	// particular resource. It is asked after parse has succeeded.
	needs func(r *request, st *state) []access
}

// work takes effect and returns the answer.
type work func() (answer, *apiError)

// ServeHTTP answers one API call. To lose a reply or drop a request it resets
// the connection, or panics with http.ErrAbortHandler, which net/http's server
// takes as the order to close it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		s.reply(w, 0, "", nil, errorf("MalformedQueryString", "The request could not be read: %v", err))
		return
	}
	call := Call{Action: r.Form.Get("Action"), Params: map[string]string{}, Started: time.Now()}
	for k, v := range r.Form {
		if k != "Action" && k != "Version" && len(v) > 0 {
			call.Params[k] = v[0]
		}
	}
	a, known := s.actions[call.Action]
	call.Mutating = a.mutating
	call.DryRun = strings.EqualFold(r.Form.Get("DryRun"), "true")
	name := call.Action
	switch {
	case !known:
		name = "unknown"
	case call.DryRun:
		name += DryRunSuffix
	}
	s.calls.arrive(&call, name)

	accessKey, err := s.credential(r)
	call.AccessKey = accessKey
	switch {
	case err != nil:
	case r.Form.Get("Version") != apiVersion:
		err = errorf("NoSuchVersion", "The requested version (%s) of service AmazonEC2 does not exist", r.Form.Get("Version"))
	case !known:
		err = errorf(codeInvalidAction, "The action %s is not valid for this web service.", call.Action)
	}
	var ans answer
	closed := false
	if err == nil {
		ans, err, closed = s.perform(&call, a, r.Form)
	}
	call.Finished = time.Now()
	call.LostReply = closed
	if call.Code = ResultOK; err != nil {
		call.Code = err.code
	}
	s.calls.finish(call)
	if closed {
		s.sever(w)
		return
	}
	s.reply(w, call.Seq, call.Action, ans, err)
}

// sever closes a call's connection: in order, or with a reset if the faults
// say so.
func (s *Server) sever(w http.ResponseWriter) {
	if !s.faults.resets() {
		panic(http.ErrAbortHandler)
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2: there it resets the stream
	}
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if t, ok := conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // makes Close send a reset
	}
	_ = conn.Close()
}

// signature matches the Authorization header of a request signed for EC2.
func signature() *regexp.Regexp {
	return regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=([^/,]+)/\d{8}/[a-z0-9-]+/ec2/aws4_request, ?SignedHeaders=[^,]+, ?Signature=[0-9a-f]{64}$`)
}

// credential returns the access key of a signed request.
func (s *Server) credential(r *http.Request) (string, *apiError) {
	m := s.signature.FindStringSubmatch(r.Header.Get("Authorization"))
	if m == nil {
		return "", errorf(codeAuthFailure, "AWS was not able to validate the provided access credentials")
	}
	return m[1], nil
}

// perform takes a call through the faults to its effect. closed says that the
// connection is to be closed instead of answered.
func (s *Server) perform(call *Call, a action, form url.Values) (ans answer, err *apiError, closed bool) {
	req := &request{params: params{form}, server: s}
	if err := req.check(a.params, a.unsupported); err != nil {
		return nil, err, false
	}
	dryRun, _, err := req.boolean("DryRun")
	if err != nil {
		return nil, err, false
	}
	call.DryRun = dryRun

	if hook := s.faults.hook(); hook != nil {
		hook(*call)
	}
	v := s.faults.judge(*call, a.mutating)
	if v.refuse != "" {
		return nil, injected(v.refuse), false
	}
	if v.drop {
		return nil, errorf("Dropped", "the connection was closed before the call took effect"), true
	}
	req.stale = v.stale

	do, err := a.parse(req)
	time.Sleep(v.before)
	if err == nil {
		err = s.authorize(call.AccessKey, call.Action, a, req)
	}
	switch {
	case v.fail != "" && (!v.failLate || dryRun):
		err = injected(v.fail)
	case err != nil:
	case dryRun:
		err = errorf(codeDryRun, "Request would have succeeded, but DryRun flag is set.")
	default:
		if ans, err = do(); err == nil {
			call.Effect = time.Now()
			if v.fail != "" {
				err = injected(v.fail)
			}
		}
	}
	time.Sleep(v.after)
	return ans, err, v.lose
}

// commitCall is commit for actions, whose functions fail with an apiError.
func (s *Server) commitCall(f func(*state) *apiError) *apiError {
	err := s.commit(func(st *state) error {
		if err := f(st); err != nil {
			return err
		}
		return nil
	})
	var api *apiError
	if errors.As(err, &api) {
		return api
	}
	return nil // f has no other errors
}

// answer is the root element of an answer.
type answer interface{ setRequestID(id string) }

// root is embedded by every answer.
type root struct {
	RequestID string `xml:"requestId"`
}

func (r *root) setRequestID(id string) { r.RequestID = id }

// done is the answer of a call that has nothing else to say.
type done struct {
	root
	Return bool `xml:"return"`
}

// failure is the answer of a call that failed.
type failure struct {
	Code      string `xml:"Errors>Error>Code"`
	Message   string `xml:"Errors>Error>Message"`
	RequestID string `xml:"RequestID"`
}

func (s *Server) reply(w http.ResponseWriter, seq uint64, name string, a answer, err *apiError) {
	id := requestID(seq)
	status := http.StatusOK
	var doc any = a
	element := xml.StartElement{Name: xml.Name{Space: xmlNamespace, Local: name + "Response"}}
	if err != nil {
		status = httpStatus(err.code)
		doc = failure{Code: err.code, Message: err.message, RequestID: id}
		element.Name = xml.Name{Local: "Response"}
	} else {
		a.setRequestID(id)
	}
	var body bytes.Buffer
	body.WriteString(xml.Header)
	if err := xml.NewEncoder(&body).EncodeElement(doc, element); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	w.Header().Set("X-Amzn-Requestid", id)
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // a client that went away is its own business
}

// requestID makes a request id of the form EC2 uses from a call's number.
func requestID(seq uint64) string {
	return fmt.Sprintf("00000000-0000-4000-8000-%012x", seq)
}

// hash spreads an id over 64 bits, the same in every run.
func hash(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s)) // never fails
	return h.Sum64()
}

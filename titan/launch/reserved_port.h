// A TCP port for the ranks' rendezvous that nobody else gets between being asked for and being used.
#pragma once

#include <cstdint>

namespace titan::launch {

// [Note: a port without a race]
// The launcher must name a port before rank 0 listens on it. A port that was free a moment ago may be gone by then, so
// this keeps a socket bound to it, with SO_REUSEADDR and never listening. Linux lets rank 0's server, which sets
// SO_REUSEADDR too (c10d's TCPStore does, on both of its backends), bind and listen beside it, while the system
// gives the port to nobody who asks for any port, and to no outgoing connection; a rank that tries to connect before
// the server listens can therefore not reach itself either.
class ReservedPort {
 public:
  // Asks the system for a free port of every address, IPv6 and IPv4. Throws c10::Error if there is none.
  ReservedPort();
  ~ReservedPort();
  ReservedPort(const ReservedPort&) = delete;
  ReservedPort& operator=(const ReservedPort&) = delete;

  int64_t port() const { return port_; }

 private:
  int socket_ = -1;
  int64_t port_ = 0;
};

}  // namespace titan::launch

// Addresses of machines: whether a name is one, whether somebody listens there, and which of this machine's own
// addresses leads there. It opens no lasting connection.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace titan::distributed {

// Throws c10::ValueError, naming MASTER_ADDR, if `host` is no address and no name that can be resolved. A resolver
// that asks to try again is given a few seconds.
void check_host(const std::string& host);

// Whether a connection can be made before `deadline`. While it is refused or unreachable, tries again if `retry`.
// `why` gets the system's last reason.
bool can_connect(const std::string& host, int64_t port, bool retry, std::chrono::steady_clock::time_point deadline,
                 std::string& why);

// The address of this machine from which packets to `host` leave; "" if there is no way. Sends none.
std::string local_address_towards(const std::string& host);

bool is_loopback(const std::string& address);

// Equal for processes between which 127.0.0.1 leads: those of one machine and one network namespace.
std::string network_identity();

}  // namespace titan::distributed

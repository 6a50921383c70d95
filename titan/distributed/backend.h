// Who moves the bytes of a process group: c10d backends by name. "shm" is for ranks of one host, through shared memory;
// "gloo" talks over TCP; "auto" is shm where a group's ranks are on one host, and gloo elsewhere. "fake" answers at
// once with this rank's own data, so that one process can play one rank of a world of any size.
#pragma once

#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace c10d {
class Backend;
class Store;
}  // namespace c10d

namespace titan::distributed {

struct BackendRequest {
  c10::intrusive_ptr<c10d::Store> store;  // of this group alone
  int64_t rank = 0, size = 1;             // in the group
  std::vector<int64_t> ranks;             // of the job
  std::chrono::milliseconds timeout{};    // of making the connections, and of each operation until set_timeout
  std::string local_address;              // of this machine, as the other ranks reach it
};
using BackendFactory = std::function<c10::intrusive_ptr<c10d::Backend>(const BackendRequest&)>;

// Throws c10::ValueError, which lists the names there are.
BackendFactory backend_factory(std::string_view name);

}  // namespace titan::distributed

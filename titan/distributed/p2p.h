// Messages between two ranks of a group, any number at once.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "titan/distributed/collectives.h"
#include "titan/distributed/process_group.h"

namespace titan::distributed {

struct Message {
  enum class Direction { kSend, kReceive };
  Direction direction = Direction::kSend;
  at::Tensor tensor;  // a received message has its shape and dtype and goes into it
  int64_t peer = 0;   // index in the group, not this rank's own
};

// Starts them all, in any order that suits the backend; so a ring in which everybody sends and receives does not
// block. Between two ranks messages arrive in the order in which they were listed. The results are the messages'
// tensors. Both sides must list messages that fit; an empty tensor is a message too.
PendingTensors exchange(std::vector<Message> messages, ProcessGroup& group);

Message send(at::Tensor tensor, int64_t peer);
Message receive(at::Tensor tensor, int64_t peer);

}  // namespace titan::distributed

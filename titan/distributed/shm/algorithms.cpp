#include "titan/distributed/shm/algorithms.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace titan::distributed::shm {
namespace {

Label label_of(Kind kind, uint32_t tag, int64_t bytes) {
  return {static_cast<uint32_t>(kind), tag, static_cast<uint64_t>(bytes)};
}

// A message of none takes a round, too.
int64_t num_rounds(int64_t bytes, const Links& links) {
  return std::max<int64_t>(1, (bytes + links.slot_bytes() - 1) / links.slot_bytes());
}

// The piece of `part` that its `round`-th slot holds; empty before its beginning and after its end.
Part piece(const Part& part, int64_t round, const Links& links) {
  const int64_t begin = round * links.slot_bytes();
  if (round < 0 || begin >= part.bytes) return {};
  return {part.data + begin, std::min(links.slot_bytes(), part.bytes - begin)};
}

void copy_bytes(std::byte* to, const std::byte* from, int64_t bytes) {
  if (to != from && bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
}

void write(RingWriter& ring, const Part& part, const Label& label) {
  copy_bytes(ring.data(), part.data, part.bytes);
  ring.publish(label);
}

void check(const RingReader& ring, const Label& expected, const Links& links) {
  TORCH_CHECK(ring.label() == expected, links.name(ring.waits_for()), " is in ", describe(ring.label()), ", ",
              links.name(links.rank()), " in ", describe(expected));
}

void read(RingReader& ring, const Part& part, const Label& label, const Links& links) {
  check(ring, label, links);
  copy_bytes(part.data, ring.data(), part.bytes);
  ring.release();
}

// One part per rank, as even as whole lines of the cache allow.
std::vector<Part> split(const Part& x, int64_t num_parts) {
  constexpr int64_t kLine = 64;
  const int64_t bytes = (x.bytes + num_parts * kLine - 1) / (num_parts * kLine) * kLine;
  std::vector<Part> parts;
  for (int64_t i = 0; i < num_parts; ++i) {
    const int64_t begin = std::min(i * bytes, x.bytes);
    parts.push_back({x.data + begin, std::min(bytes, x.bytes - begin)});
  }
  return parts;
}

int64_t longest(const std::vector<Part>& parts) {
  int64_t bytes = 0;
  for (const Part& part : parts) bytes = std::max(bytes, part.bytes);
  return bytes;
}

// Every rank posts all it has, and reduces what all have posted: the fewest steps.
Task all_reduce_at_once(Links& links, Part x, Reducer reducer, uint32_t tag) {
  const Label label = label_of(Kind::kAllReduce, tag, x.bytes);
  const int64_t rounds = num_rounds(x.bytes, links);
  std::vector<const std::byte*> inputs(static_cast<size_t>(links.size()));
  for (int64_t round = 0; round <= rounds; ++round) {
    // 1. Post this round's piece.
    if (round < rounds) {
      co_await ready(links.to_all());
      write(links.to_all(), piece(x, round, links), label);
    } else {
      co_await all_sent;
    }
    // 2. Reduce the piece before.
    if (round == 0) continue;
    const Part own = piece(x, round - 1, links);
    inputs[static_cast<size_t>(links.rank())] = own.data;
    for (const int64_t peer : links.peers()) {
      co_await ready(links.from_all(peer));
      check(links.from_all(peer), label, links);
      inputs[static_cast<size_t>(peer)] = links.from_all(peer).data();
    }
    reducer(own.data, inputs, own.bytes);
    for (const int64_t peer : links.peers()) links.from_all(peer).release();
  }
}

// Each rank reduces one part, and posts it to all (Rabenseifner 2004): the fewest bytes.
Task all_reduce_by_parts(Links& links, Part x, Reducer reducer, uint32_t tag) {
  const Label label = label_of(Kind::kAllReduce, tag, x.bytes);
  const std::vector<Part> parts = split(x, links.size());
  const int64_t rounds = num_rounds(longest(parts), links);
  std::vector<const std::byte*> inputs(static_cast<size_t>(links.size()));
  const auto part_of = [&](int64_t rank, int64_t round) {
    return piece(parts[static_cast<size_t>(rank)], round, links);
  };
  for (int64_t round = 0; round <= rounds; ++round) {
    // 1. Each other rank gets a piece of what it reduces.
    for (const int64_t peer : links.peers()) {
      if (part_of(peer, round).bytes == 0) continue;
      co_await ready(links.to(peer));
      write(links.to(peer), part_of(peer, round), label);
    }
    // 2. This rank reduces a piece of its part, right into the ring to all.
    if (const Part own = part_of(links.rank(), round); own.bytes > 0) {
      inputs[static_cast<size_t>(links.rank())] = own.data;
      for (const int64_t peer : links.peers()) {
        co_await ready(links.from(peer));
        check(links.from(peer), label, links);
        inputs[static_cast<size_t>(peer)] = links.from(peer).data();
      }
      co_await ready(links.to_all());
      reducer(links.to_all().data(), inputs, own.bytes);
      copy_bytes(own.data, links.to_all().data(), own.bytes);
      links.to_all().publish(label);
      for (const int64_t peer : links.peers()) links.from(peer).release();
    }
    if (round == rounds) co_await all_sent;
    // 3. What the others reduced in the round before.
    for (const int64_t peer : links.peers()) {
      const Part part = part_of(peer, round - 1);
      if (part.bytes == 0) continue;
      co_await ready(links.from_all(peer));
      read(links.from_all(peer), part, label, links);
    }
  }
}

}  // namespace

std::string describe(const Label& label) {
  constexpr std::array<const char*, 10> kNames{"nothing",   "all_reduce", "all_gather", "reduce_scatter", "reduce",
                                               "broadcast", "all_to_all", "scatter",    "gather",         "a message"};
  const char* const name = label.kind < kNames.size() ? kNames[label.kind] : "another operation";
  return fmt::format("{} of {} bytes (tag {})", name, label.bytes, label.tag);
}

Task all_reduce(Links& links, Part x, Reducer reducer, uint32_t tag) {
  // Measured: benchmarks/collectives.md.
  constexpr int64_t kAtOnce = 128 << 10;
  return links.size() == 2 || x.bytes * links.size() <= kAtOnce ? all_reduce_at_once(links, x, reducer, tag)
                                                                : all_reduce_by_parts(links, x, reducer, tag);
}

Task all_gather(Links& links, Part input, std::vector<std::byte*> outputs, uint32_t tag) {
  const Label label = label_of(Kind::kAllGather, tag, input.bytes);
  const int64_t rounds = num_rounds(input.bytes, links);
  for (int64_t round = 0; round <= rounds; ++round) {
    // 1. Post this round's piece.
    if (const Part own = piece(input, round, links); round < rounds) {
      co_await ready(links.to_all());
      write(links.to_all(), own, label);
      copy_bytes(outputs[static_cast<size_t>(links.rank())] + round * links.slot_bytes(), own.data, own.bytes);
    } else {
      co_await all_sent;
    }
    // 2. Read the others' piece before.
    if (round == 0) continue;
    for (const int64_t peer : links.peers()) {
      co_await ready(links.from_all(peer));
      read(links.from_all(peer), piece({outputs[static_cast<size_t>(peer)], input.bytes}, round - 1, links), label,
           links);
    }
  }
}

Task reduce_scatter(Links& links, Kind kind, std::vector<Part> inputs, std::byte* output, Reducer reducer,
                    uint32_t tag) {
  const auto part_of = [&](int64_t rank, int64_t round) {
    return piece(inputs[static_cast<size_t>(rank)], round, links);
  };
  const auto label_for = [&](int64_t rank) { return label_of(kind, tag, inputs[static_cast<size_t>(rank)].bytes); };
  const int64_t rounds = num_rounds(longest(inputs), links);
  std::vector<const std::byte*> terms(static_cast<size_t>(links.size()));
  for (int64_t round = 0; round <= rounds; ++round) {
    // 1. Each other rank gets a piece of what it reduces.
    for (const int64_t peer : links.peers()) {
      if (part_of(peer, round).bytes == 0) continue;
      co_await ready(links.to(peer));
      write(links.to(peer), part_of(peer, round), label_for(peer));
    }
    if (round + 1 >= rounds) co_await all_sent;
    // 2. This rank reduces the piece before.
    const Part own = part_of(links.rank(), round - 1);
    if (own.bytes == 0) continue;
    terms[static_cast<size_t>(links.rank())] = own.data;
    for (const int64_t peer : links.peers()) {
      co_await ready(links.from(peer));
      check(links.from(peer), label_for(links.rank()), links);
      terms[static_cast<size_t>(peer)] = links.from(peer).data();
    }
    reducer(output + (round - 1) * links.slot_bytes(), terms, own.bytes);
    for (const int64_t peer : links.peers()) links.from(peer).release();
  }
}

Task broadcast(Links& links, Part x, int64_t source) {
  const Label label = label_of(Kind::kBroadcast, static_cast<uint32_t>(source), x.bytes);
  if (links.rank() != source) co_await all_sent;
  for (int64_t round = 0; round < num_rounds(x.bytes, links); ++round) {
    if (links.rank() == source) {
      co_await ready(links.to_all());
      write(links.to_all(), piece(x, round, links), label);
    } else {
      co_await ready(links.from_all(source));
      read(links.from_all(source), piece(x, round, links), label, links);
    }
  }
}

Task all_to_all(Links& links, Kind kind, std::vector<Part> inputs, std::vector<Part> outputs, uint32_t tag) {
  const auto own = static_cast<size_t>(links.rank());
  copy_bytes(outputs[own].data, inputs[own].data, std::min(inputs[own].bytes, outputs[own].bytes));
  inputs[own].bytes = outputs[own].bytes = 0;
  const int64_t rounds_to_send = num_rounds(longest(inputs), links);
  const int64_t rounds = std::max(rounds_to_send, num_rounds(longest(outputs), links));
  for (int64_t round = 0; round <= rounds; ++round) {
    // 1. To each its piece.
    for (const int64_t peer : links.peers()) {
      const Part& part = inputs[static_cast<size_t>(peer)];
      if (piece(part, round, links).bytes == 0) continue;
      co_await ready(links.to(peer));
      write(links.to(peer), piece(part, round, links), label_of(kind, tag, part.bytes));
    }
    if (round + 1 >= rounds_to_send) co_await all_sent;
    // 2. From each the piece before.
    for (const int64_t peer : links.peers()) {
      const Part& part = outputs[static_cast<size_t>(peer)];
      if (piece(part, round - 1, links).bytes == 0) continue;
      co_await ready(links.from(peer));
      read(links.from(peer), piece(part, round - 1, links), label_of(kind, tag, part.bytes), links);
    }
  }
}

Task send(Links& links, Part x, int64_t peer, uint32_t tag) {
  const Label label = label_of(Kind::kMessage, tag, x.bytes);
  for (int64_t round = 0; round < num_rounds(x.bytes, links); ++round) {
    co_await ready(links.mail_to(peer));
    write(links.mail_to(peer), piece(x, round, links), label);
  }
}

Task receive(Links& links, Part x, int64_t peer, uint32_t tag) {
  co_await all_sent;
  const Label label = label_of(Kind::kMessage, tag, x.bytes);
  for (int64_t round = 0; round < num_rounds(x.bytes, links); ++round) {
    co_await ready(links.mail_from(peer));
    read(links.mail_from(peer), piece(x, round, links), label, links);
  }
}

}  // namespace titan::distributed::shm

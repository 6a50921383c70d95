#include "titan/distributed/recorder/dump.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "titan/distributed/recorder/flight_recorder.h"
#include "titan/pickle/pickle_writer.h"

namespace titan::distributed::recorder {
namespace {

// Of the format, not of PyTorch.
constexpr const char* kVersion = "2.10";

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

std::string description(const Channel& channel) { return channel.name + " on " + channel.backend; }

// "nccl:send 1->0": indices in the channel's ranks. fr_trace wants the sender's and the receiver's names for one
// number.
std::string profiling_name(const Record& record) {
  const Channel& channel = *record.channel;
  if (!channel.is_messages()) return fmt::format("nccl:{}", record.backend_call);
  const int64_t receiver = 1 - channel.sender;
  return std::string_view(record.backend_call) == "send" ? fmt::format("nccl:send {}->{}", channel.sender, receiver)
                                                         : fmt::format("nccl:recv {}<-{}", receiver, channel.sender);
}

const char* state_of(const Record& record) {
  if (record.done_ns != 0) return "completed";
  return record.started_ns != 0 ? "started" : "scheduled";
}

class DumpWriter {
 public:
  std::string write(const FlightRecorder& recorder, const DumpHeader& header) {
    begin_dict();
    field("version", kVersion);
    out_.string("pg_config");
    write_channels(recorder.channels());
    out_.string("pg_status");
    begin_dict();
    end_dict();
    out_.string("titan");
    write_header(recorder, header);
    out_.string("entries");
    begin_list();
    for (const Record& record : recorder.records()) write_record(record);
    end_list();
    end_dict();
    return out_.finish();
  }

 private:
  void field(std::string_view name, std::string_view value) {
    out_.string(name);
    out_.string(value);
  }
  void field(std::string_view name, int64_t value) {
    out_.string(name);
    out_.integer(value);
  }
  // None where it has not happened.
  void time_field(std::string_view name, int64_t ns) {
    out_.string(name);
    ns == 0 ? out_.none() : out_.integer(ns);
  }

  void write_channels(const std::vector<Channel>& channels) {
    begin_dict();
    for (const Channel& channel : channels) {
      out_.string(channel.key);
      begin_dict();
      field("name", channel.name);
      field("desc", description(channel));
      field("ranks", fmt::format("[{}]", fmt::join(channel.ranks, ", ")));
      end_dict();
    }
    end_dict();
  }

  void write_header(const FlightRecorder& recorder, const DumpHeader& header) {
    begin_dict();
    field("rank", header.rank);
    field("world_size", header.world_size);
    field("host", host_name());
    field("pid", getpid());
    field("reason", name_of(header.reason));
    field("message", header.message);
    field("time_ns", nanoseconds_since_1970());
    field("capacity", recorder.capacity());
    end_dict();
  }

  void write_record(const Record& record) {
    const Channel& channel = *record.channel;
    begin_dict();
    field("record_id", record.id);
    out_.string("process_group");
    out_.mark();
    out_.string(channel.key);
    out_.string(description(channel));
    out_.tuple_from_mark();
    field("collective_seq_id", record.sequence);
    field("p2p_seq_id", record.sequence);
    field("op_id", record.id);
    field("profiling_name", profiling_name(record));
    write_shapes("input_sizes", "input_dtypes", record.input);
    write_shapes("output_sizes", "output_dtypes", record.output);
    field("state", state_of(record));
    time_field("time_created_ns", record.enqueued_ns);
    time_field("time_discovered_started_ns", record.started_ns);
    time_field("time_discovered_completed_ns", record.done_ns);
    out_.string("retired");
    out_.boolean(record.done_ns != 0);
    field("timeout_ms", record.timeout.count());
    out_.string("is_p2p");
    out_.boolean(channel.is_messages());
    write_frames(record.module);
    field("operation", record.operation);
    field("module", record.module != nullptr ? *record.module : "");
    time_field("time_waiting_ns", record.waiting_ns);
    end_dict();
  }

  void write_shapes(std::string_view sizes_name, std::string_view dtypes_name, const Shape& shape) {
    const bool exists = shape.dtype != at::ScalarType::Undefined;
    out_.string(sizes_name);
    begin_list();
    if (exists) {
      begin_list();
      for (const int64_t size : shape.sizes) out_.integer(size);
      end_list();
    }
    end_list();
    out_.string(dtypes_name);
    begin_list();
    if (exists) out_.string(at::toString(shape.dtype));
    end_list();
  }

  // fr_trace shows stack traces; ours is one frame, the module.
  void write_frames(const ModuleName& module) {
    out_.string("frames");
    begin_list();
    if (module != nullptr) {
      begin_dict();
      field("name", *module);
      field("filename", "module");
      field("line", 0);
      end_dict();
    }
    end_list();
  }

  void begin_dict() {
    out_.empty_dict();
    out_.mark();
  }
  void end_dict() { out_.set_items_from_mark(); }
  void begin_list() {
    out_.empty_list();
    out_.mark();
  }
  void end_list() { out_.append_from_mark(); }

  pickle::PickleWriter out_{2};
};

}  // namespace

const char* name_of(Reason reason) {
  switch (reason) {
    case Reason::kAsked:
      return "asked";
    case Reason::kSlow:
      return "slow";
    case Reason::kOperation:
      return "operation";
    case Reason::kException:
      return "exception";
    case Reason::kElsewhere:
      return "elsewhere";
  }
  return "?";
}

std::string to_pickle(const FlightRecorder& recorder, const DumpHeader& header) {
  return DumpWriter().write(recorder, header);
}

void write_dump(const FlightRecorder& recorder, const DumpHeader& header, const std::filesystem::path& path) {
  // A name that a reader, who looks for <prefix><rank>, takes for nothing.
  const auto partial = path.parent_path() / fmt::format(".{}.{}.partial", header.rank, getpid());
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  errno = 0;
  std::ofstream file(partial, std::ios::binary | std::ios::trunc);
  file << to_pickle(recorder, header);
  file.close();
  TORCH_CHECK(file.good(), path.string(), ": cannot be written: ", std::strerror(errno));
  std::filesystem::rename(partial, path, error);
  TORCH_CHECK(!error, path.string(), ": cannot be written: ", error.message());
}

}  // namespace titan::distributed::recorder

#include "titan/metrics/event_record.h"

#include "event.pb.h"

namespace titan::metrics {

std::string version_event(double wall_time) {
  proto::Event event;
  event.set_wall_time(wall_time);
  event.set_file_version("brain.Event:2");
  return event.SerializeAsString();
}

std::string scalar_event(double wall_time, int64_t step, std::string_view tag, float value) {
  proto::Event event;
  event.set_wall_time(wall_time);
  event.set_step(step);
  proto::Summary::Value* scalar = event.mutable_summary()->add_value();
  scalar->set_tag(std::string(tag));
  scalar->set_simple_value(value);
  return event.SerializeAsString();
}

}  // namespace titan::metrics

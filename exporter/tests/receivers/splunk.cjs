// Sends an event to a HEC as Splunk's own library does. Takes what to send as JSON from standard input.
const { Logger } = require("splunk-logging");

const { url, token, metadata, event } = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
const logger = new Logger({ url, token, maxRetries: 0 });
// The library's default adds a severity beside the message.
logger.eventFormatter = (message) => message;
logger.error = (error) => {
  throw error;
};
logger.send({ message: event, metadata }, (error, _response, body) => {
  if (error) throw error;
  console.log(JSON.stringify(body));
});

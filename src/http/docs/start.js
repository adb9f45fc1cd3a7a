// The address is relative, so that the page works behind a proxy that puts the server under a path.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#page",
  deepLinking: true,
  displayRequestDuration: true,
  // Swagger UI would send the document's address to a service of its makers.
  validatorUrl: null,
});

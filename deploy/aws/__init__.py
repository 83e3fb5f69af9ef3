"""The AWS account: CloudFormation for the realms' CAs and the roles, and the rules their policies are held to."""
